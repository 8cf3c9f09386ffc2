"""Undoing a journal: ends what it names, removes what it names, newest first, and touches nothing else."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from testbed.network import cgroup
from testbed.network.processes import Process, end_all

_GRACE_OF_OTHERS_S = 0.5
_TUNNELS_S = 1.0
_GRACE_S = {"relay": 20.0}
"""It closes its devices side by side when it is asked to end; killed, the kernel closes them one after the other."""


class UndoReport(msgspec.Struct):
    """What was taken down. Processes are counted; the rest is named."""

    processes: int = 0
    namespaces: list[str] = []
    interfaces: list[str] = []
    cgroups: list[str] = []
    files: list[str] = []
    failures: list[str] = []


def this_boot() -> str:
    """What the kernel calls the time since the machine was started."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def processes_in(entries: list[dict[str, Any]]) -> dict[Process, str]:
    """The processes that a journal names, with the names it gives them; none if the machine was started anew since, for
    pids and start times begin anew with it."""
    found: dict[Process, str] = {}
    if any(entry["kind"] == "boot" and entry.get("id") != this_boot() for entry in entries):
        return found
    for entry in entries:
        match entry:
            case {"kind": "process", "pid": int(pid), "start": int(start)}:
                found[Process(pid, start)] = str(entry.get("name", ""))
    return found


def groups_in(entries: list[dict[str, Any]]) -> list[Path]:
    """The cgroups that a journal names."""
    return [
        Path(entry["path"]) for entry in entries if entry["kind"] == "cgroup" and isinstance(entry.get("path"), str)
    ]


def undo(read: Callable[[], list[dict[str, Any]]], folder: Path, elsewhere: Sequence[str] = ()) -> UndoReport:
    """Undoes a journal, newest first, and removes the testbed's folder last.

    Namespaces and interfaces go with the last process that holds them. Things already gone are passed over; what could
    not be removed is told in `failures`, and the folder then stays, so that it can be tried again.

    Args:
        read: reads the journal, oldest first; it is read again when a process came in while others were being ended.
        folder: the testbed's.
        elsewhere: what could not be undone on other machines; it counts as what could not be removed.
    """
    report = UndoReport()
    for _ in range(5):
        entries = read()
        ended, immortal = _end_processes(entries)
        report.processes += ended
        report.failures = [*elsewhere, *(f"process {one.pid} outlived SIGKILL" for one in sorted(immortal))]
        for entry in reversed(entries):
            try:
                _undo_one(entry, report)
            except OSError as error:
                report.failures.append(f"{entry['kind']} {entry.get('path', '')}: {error.strerror}")
        if not report.failures:
            shutil.rmtree(folder, ignore_errors=True)
            if folder.parent.is_dir() and not any(folder.parent.iterdir()):
                folder.parent.rmdir()
            break
    report.namespaces = [entry["node"] for entry in entries if entry["kind"] == "namespace" and "node" in entry]
    report.interfaces = [
        f"{entry['node']}:{entry['name']}"
        for entry in entries
        if entry["kind"] == "interface" and {"node", "name"} <= entry.keys()
    ]
    return report


def _end_processes(entries: list[dict[str, Any]]) -> tuple[int, set[Process]]:
    recorded, groups = processes_in(entries), groups_in(entries)
    return end_all(
        lambda: set(recorded).union(*(cgroup.members(group) for group in groups)),
        lambda one: _GRACE_S.get(recorded.get(one, ""), _GRACE_OF_OTHERS_S),
    )


def _undo_one(entry: dict[str, Any], report: UndoReport) -> None:
    match entry:
        case {"kind": "cgroup", "path": str(path)}:
            if Path(path).is_dir():
                cgroup.remove(Path(path))
                report.cgroups.append(path)
        case {"kind": "file", "path": str(path)}:
            if _removed(Path(path)):
                report.files.append(path)
        case {"kind": "tunnels", "port": int(port)}:
            _await_end_of_tunnels(port)


def _await_end_of_tunnels(port: int) -> None:
    """Waits until no tunnel listens in the caller's namespace any more: the kernel ends them some time after the
    namespaces that they were in. Another testbed's may go on."""
    until_s = time.monotonic() + _TUNNELS_S
    while time.monotonic() < until_s:
        listening = Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
        if not any(line.split()[1].endswith(f":{port:04X}") for line in listening):
            return
        time.sleep(0.01)


def _removed(path: Path) -> bool:
    """Removes a file, a link, or a folder with all in it; False if there was nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return True
    if path.exists() or path.is_symlink():
        path.unlink(missing_ok=True)
        return True
    return False
