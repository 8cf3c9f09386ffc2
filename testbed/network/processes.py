"""Processes by pid and start time, so that a pid used again is never mistaken for the process that had it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process: its pid, and when it started, in clock ticks since boot."""

    pid: int
    start: int


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State, parent and start time of a process; None if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1]), int(fields[19])


def process(pid: int) -> Process | None:
    """The living process of that pid; None if there is none, or only its remains wait for their parent."""
    stat = _stat(pid)
    return Process(pid, stat[2]) if stat and stat[0] not in "ZX" else None


def is_alive(known: Process) -> bool:
    """Whether that very process still lives."""
    return process(known.pid) == known


def with_descendants(roots: Iterable[Process]) -> set[Process]:
    """The processes that live, of those given, with their children, grandchildren and so on."""
    children: dict[int, list[Process]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - a Path for each of thousands of entries is slow
        if entry.isdigit() and (stat := _stat(int(entry))) and stat[0] not in "ZX":
            children.setdefault(stat[1], []).append(Process(int(entry), stat[2]))
    found: set[Process] = set()
    waiting = [root for root in roots if is_alive(root)]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += children.get(one.pid, [])
    return found


def send(known: Process, number: signal.Signals) -> None:
    """Sends a signal to that very process; does nothing if it is gone."""
    try:
        handle = os.pidfd_open(known.pid)
    except ProcessLookupError:
        return
    try:
        if is_alive(known):  # the handle was opened first, so it cannot come to mean another process
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def end_all(
    find: Callable[[], set[Process]], grace_s: float = 0.5, patience_s: float = 60.0
) -> tuple[int, set[Process]]:
    """Ends the processes that `find` names, and their descendants: SIGTERM, then SIGKILL, until none is left.

    The process that calls is spared. Returns how many were ended, and those that outlived SIGKILL for `patience_s`.
    """
    seen: set[Process] = set()
    began = time.monotonic()
    asked: set[Process] = set()
    while True:
        living = {one for one in with_descendants(find() | seen) if one.pid != os.getpid()}
        seen |= living
        elapsed = time.monotonic() - began
        if not living or elapsed > patience_s:
            return len(seen - living), living
        for one in living:
            if elapsed > grace_s:
                send(one, signal.SIGKILL)
            elif one not in asked:
                send(one, signal.SIGTERM)
        asked |= living
        time.sleep(0.01)
