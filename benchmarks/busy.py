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


_WATCH = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(60))
at = time.clock_gettime(time.CLOCK_REALTIME)
while True:
    at += 0.001
    time.sleep(max(0, at - time.clock_gettime(time.CLOCK_REALTIME)))
    now = time.clock_gettime(time.CLOCK_REALTIME)
    if now - at > 0.0005:
        print(at, now, flush=True)
        at = now
"""


@contextlib.contextmanager
def absences() -> Iterator[list[tuple[float, float]]]:
    """When a core was not there, from and to, in seconds of real time: filled in at the end.

    A real-time process on each core, above all that is measured, wakes every millisecond and says when it was late by
    more than half of one. On a virtual machine the host takes the cores away for milliseconds, which nothing in it can
    help.
    """
    found: list[tuple[float, float]] = []
    argv = [sys.executable, "-c", _WATCH]
    watches = [
        subprocess.Popen([*argv, str(core)], stdout=subprocess.PIPE, text=True) for core in os.sched_getaffinity(0)
    ]
    try:
        yield found
    finally:
        for watch in watches:
            watch.kill()
            for line in watch.communicate()[0].splitlines():
                began, ended = map(float, line.split())
                found.append((began, ended))
