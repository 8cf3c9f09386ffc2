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


def _living(pid: int) -> tuple[Process, int] | None:
    """The living process of that pid, and its parent; None if there is none, or only its remains wait for theirs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in "ZX" and int(fields[17]) <= 1:  # its first thread may have ended while others still close files
        return None
    return Process(pid, int(fields[19])), int(fields[1])


def process(pid: int) -> Process | None:
    """The living process of that pid; None if there is none, or only its remains wait for their parent."""
    found = _living(pid)
    return found[0] if found else None


def is_alive(known: Process) -> bool:
    """Whether that very process still lives."""
    return process(known.pid) == known


def with_descendants(roots: Iterable[Process]) -> set[Process]:
    """The processes that live, of those given, with their children, grandchildren and so on."""
    children: dict[int, list[Process]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - a Path for each of thousands of entries is slow
        if entry.isdigit() and (found_there := _living(int(entry))):
            children.setdefault(found_there[1], []).append(found_there[0])
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
    find: Callable[[], set[Process]],
    grace_s: Callable[[Process], float] = lambda _: 0.5,
    patience_s: float = 60.0,
) -> tuple[int, set[Process]]:
    """Ends the processes that `find` names, and their descendants: SIGTERM, after their grace SIGKILL, until none is
    left.

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
            if elapsed > grace_s(one):
                send(one, signal.SIGKILL)
            elif one not in asked:
                send(one, signal.SIGTERM)
                send(one, signal.SIGCONT)  # or one that was stopped would not hear of it
        asked |= living
        time.sleep(0.01)
