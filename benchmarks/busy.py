"""What benchmarks measure beside: cores that are kept busy; how much of a core processes used, or the host took."""

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


def taken_by_host() -> tuple[int, int]:
    """Clock ticks of all cores since the start, those that a host took from this machine (if it is virtual), and all:
    while it has them, nothing here runs, whatever its priority.
    """
    with open("/proc/stat") as file:  # noqa: PTH123
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return ticks[7], sum(ticks)
