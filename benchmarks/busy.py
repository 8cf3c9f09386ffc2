"""What benchmarks measure beside: cores that are kept busy; and how much of a core processes used."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator


@contextlib.contextmanager
def busy_cores(count: int | None = None) -> Iterator[None]:
    """Keeps so many cores busy (all, if not said) with ordinary processes that never sleep."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count or os.cpu_count() or 1)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
        for hog in hogs:
            hog.wait()


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds that processes have used, in user and kernel mode."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            fields = file.read().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total
