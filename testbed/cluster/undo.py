"""Taking a testbed down on all its machines, over SSH and by their journals: no process of its own is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psutil

from testbed.documents.resolved import Machine
from testbed.network.errors import BusyError
from testbed.network.ownership import Ownership, names_up
from testbed.network.undo import UndoReport

_TIMEOUT_S = 120.0
_PATIENCE_S = 60.0
"""How long the last command that the driver gave a machine may still be at work there."""


class Which(msgspec.Struct, frozen=True):
    """A testbed."""

    name: str


def record(ownership: Ownership, machines: Sequence[Machine]) -> None:
    """Write to the driver's journal that other machines have a part of the testbed, before they do."""
    ownership.record_all({"kind": "machine", **msgspec.to_builtins(machine)} for machine in machines)


def recorded(entries: Sequence[dict[str, Any]]) -> list[Machine]:
    """The other machines that a journal names."""
    return [msgspec.convert(entry, Machine) for entry in entries if entry["kind"] == "machine"]


def take_down(ownership: Ownership) -> dict[str, UndoReport]:
    """Undo a testbed on the other machines that the journal names, all at once, then on this one.

    Returns:
        What was undone, by machine. What could not be undone on another one, or that it cannot be reached, stands among
        this one's failures, and its journal is kept, so that it can be tried again.

    Raises:
        BusyError: another command holds the lock.
    """
    ownership.hold()
    reports: dict[str, UndoReport] = {}
    elsewhere = []
    if machines := recorded(ownership.entries()):
        from testbed.cluster.ssh import MachineError, Remote, connected, in_parallel

        def undo(remote: Remote) -> UndoReport:
            return remote.call("undo", Which(ownership.name), UndoReport, _TIMEOUT_S)

        with connected(machines) as found:
            for name, told in in_parallel(undo, found).items():
                if isinstance(told, MachineError):
                    remedy = f"`testbed down {ownership.name}` on {name} ends its part, or here once it answers"
                    elsewhere.append(f"{told}; {remedy}")
                else:
                    reports[name] = told
                    elsewhere += [f"{name}: {failure}" for failure in told.failures]
    return {ownership.machine: ownership.undo(elsewhere), **reports}


def undo_here(which: Which) -> UndoReport:
    """Undo what this machine has of a testbed, if anything; waits for a command that is still at work on it."""
    until_s = time.monotonic() + _PATIENCE_S
    while _begins_one() and time.monotonic() < until_s:
        time.sleep(0.1)
    if which.name not in names_up():
        return UndoReport()
    ownership = Ownership.open(which.name)
    _patiently(ownership.acquire)
    return ownership.undo()


def _begins_one() -> bool:
    """Whether a driver's order to begin a testbed's part here is being carried out."""
    return any(
        {"testbed.cluster.there", "raylet"} <= set(one.info["cmdline"] or ())
        for one in psutil.process_iter(["cmdline"])
    )


def _patiently(acquire: Callable[[], None]) -> None:
    until_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return acquire()
        except BusyError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.2)
