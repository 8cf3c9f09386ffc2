"""How long a computation takes by itself, whatever else the machine does."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch


def median_s(work: Callable[[Any], object], inputs: list[Any]) -> float:
    """Seconds of this thread's CPU: the clock's, but that whoever else wants the core leaves them as they are."""
    work(inputs[0])  # the first call also sets up kernels
    times = []
    for one in inputs:
        start = time.thread_time()
        work(one)
        times.append(time.thread_time() - start)
    return statistics.median(times)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread, and then on as many as before.

    Photographs are computed one at a time, which more threads make no faster, and far slower on busy cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
