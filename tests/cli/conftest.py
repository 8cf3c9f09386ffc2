"""Testbeds brought up by the real command, and a look at what a machine holds."""

import contextlib
import ctypes
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from testbed.reporting.verdict import BUSY

Command = Callable[..., subprocess.CompletedProcess[str]]

PAIR = """
name: {name}
access_points: {{ap1: {{}}}}
edges: {{edge1: {{access_point: ap1, compute: {{gflops: 200}}}}}}
devices: {{dev: {{count: 2, compute: {{gflops: 5}}}}}}
links:
  - {{between: [dev*, ap1], bandwidth: 10 Mbit/s, delay: 5 ms}}
  - {{between: [edge1, ap1], bandwidth: 100 Mbit/s, delay: 0.2 ms}}
"""

WORKLOAD = """
name: brief
duration: {duration}
seed: {seed}
deadline: 200 ms
arrivals: {{process: poisson, rate: 5 /s}}
offloading: {{policy: {policy}}}
events: {events}
"""


def call(*arguments: object, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    command = [sys.executable, "-m", "testbed", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    if check:
        ran = arguments[0] in ("run", "replay") and done.returncode == 1
        excused = ran and _only_disturbed(done.stdout, options.get("cwd", "."))
        assert done.returncode == 0 or excused, f"testbed {' '.join(map(str, arguments))}: {done.stdout}\n{done.stderr}"
    return done


def reasons(run: Path) -> list[str]:
    """Why a run is invalid, but for what others do to the machine: links out of tolerance, and too little of its CPUs
    left; tests/network certifies links, and tests/reporting has every rule."""
    summary = json.loads((run / "summary.json").read_bytes())
    others = ("before the run, ", "after the run, ", BUSY)
    return [reason for reason in summary["reasons"] if not reason.startswith(others)]


def _only_disturbed(told: str, cwd: object) -> bool:
    """Whether the runs that a command tells of have no other reason than those."""
    runs = re.findall(r"^results: (.+)$", told, re.MULTILINE)
    return bool(runs) and not any(reasons(Path(str(cwd), run)) for run in runs)


@pytest.fixture
def command() -> Command:
    return call


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Writes a topology and a workload, and names them."""

    def write(name: str, *, policy: str = "greedy", **fields: object) -> tuple[Path, Path]:
        topology, workload = tmp_path / f"{name}.yaml", tmp_path / f"{name}-workload.yaml"
        topology.write_text(PAIR.format(name=name))
        workload.write_text(WORKLOAD.format(policy=policy, **{"seed": 1, "events": "[]", "duration": "2 s", **fields}))
        return topology, workload

    return write


def _adopt_orphans() -> None:
    """Makes what the tests start stay below this process, whoever of its parents ends."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _descendants() -> dict[int, str]:
    """What lives below this process, with its commands, but for strangers and what is below them."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(stat.parent.name)] = int(parent)
    found: dict[int, str] = {}
    below = {os.getpid()}
    while below:
        commands = {pid: _command(pid) for pid, parent in parents.items() if parent in below and pid not in found}
        below = {pid for pid, command in commands.items() if "stranger" not in command}
        found |= {pid: commands[pid] for pid in below}
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


class Machine:
    """What the tests have on this machine, and its own interfaces and namespaces; others may use it meanwhile."""

    def holdings(self) -> dict[str, set[str]]:
        links = json.loads(subprocess.check_output(["ip", "-j", "link"]))
        ours = _descendants()
        groups = {group: self._may_be_ours(group, ours) for group in Path("/sys/fs/cgroup").glob("**/testbed-*")}
        others = {group.name.removeprefix("testbed-") for group, may_be in groups.items() if not may_be}
        return {
            "interfaces": {link["ifname"] for link in links},
            "named namespaces": {path.name for path in Path("/run/netns").glob("*")},
            "namespaces": {found for pid in ours if (found := _namespace(pid))},
            "testbeds": {path.name for path in Path("/run/testbed").glob("*")} - others,
            "cgroups": {str(group) for group, may_be in groups.items() if may_be},
            "processes": {f"{pid} {command}" for pid, command in ours.items()},
        }

    @staticmethod
    def _may_be_ours(group: Path, ours: Collection[int]) -> bool:
        """Whether a testbed's cgroup is empty, or holds a process of ours; not one of a lab's machines."""
        if any(folder.name.startswith("lab-") for folder in group.parents):
            return False
        try:
            inside = {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
        except OSError:
            return False
        return not inside or not inside.isdisjoint(ours)


def _namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return None


@pytest.fixture
def machine() -> Iterator[Machine]:
    """The machine, on which at the end nothing more may be ours than at the beginning."""
    _adopt_orphans()
    machine = Machine()
    before = machine.holdings()
    yield machine
    until = time.monotonic() + 5
    while (after := machine.holdings()) and time.monotonic() < until:
        if all(after[kind] <= before[kind] for kind in after):  # what was just killed may take a moment to end
            break
        time.sleep(0.1)
    assert {kind: after[kind] - before[kind] for kind in after} == {kind: set() for kind in after}
    assert {kind: before[kind] - after[kind] for kind in ("interfaces", "named namespaces")} == {
        kind: set() for kind in ("interfaces", "named namespaces")
    }
