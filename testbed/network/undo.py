"""Undoing a journal: ends what it names, removes what it names, newest first, and touches nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

from testbed.network import cgroup
from testbed.network.processes import Process, end_all


class UndoReport(msgspec.Struct):
    """What was taken down. Processes are counted; the rest is named."""

    processes: int = 0
    namespaces: list[str] = []
    interfaces: list[str] = []
    cgroups: list[str] = []
    files: list[str] = []
    failures: list[str] = []


def undo(entries: list[dict[str, Any]], folder: Path) -> UndoReport:
    """Undoes a journal, given oldest first, and removes the testbed's folder last.

    Namespaces and interfaces go with the last process that holds them. Things already gone are passed over; what could
    not be removed is told in `failures`, and the folder then stays, so that it can be tried again.
    """
    report = UndoReport()
    recorded = {
        Process(entry["pid"], entry["start"])
        for entry in entries
        if entry["kind"] == "process" and isinstance(entry.get("pid"), int) and isinstance(entry.get("start"), int)
    }
    groups = [Path(entry["path"]) for entry in entries if entry["kind"] == "cgroup"]
    report.processes, immortal = end_all(lambda: recorded.union(*(cgroup.members(group) for group in groups)))
    report.failures += [f"process {one.pid} outlived SIGKILL" for one in sorted(immortal)]
    for entry in reversed(entries):
        try:
            _undo_one(entry, report)
        except OSError as error:
            report.failures.append(f"{entry['kind']} {entry.get('path', '')}: {error.strerror}")
    if not report.failures:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.parent.is_dir() and not any(folder.parent.iterdir()):
            folder.parent.rmdir()
    return report


def _undo_one(entry: dict[str, Any], report: UndoReport) -> None:
    match entry["kind"]:
        case "namespace":
            report.namespaces.append(entry["node"])
        case "interface":
            report.interfaces.append(f"{entry['node']}:{entry['name']}")
        case "cgroup":
            path = Path(entry["path"])
            if path.is_dir():
                cgroup.remove(path)
                report.cgroups.append(str(path))
        case "file":
            path = Path(entry["path"])
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.exists() or path.is_symlink():
                path.unlink(missing_ok=True)
            else:
                return
            report.files.append(str(path))
