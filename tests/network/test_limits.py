"""Nodes' limits, held by the kernel: what a process may use, and what is left of the groups."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from testbed.documents.resolved import Limits, LinkParameters, ResolvedTopology
from testbed.network import limits
from testbed.network.build import EmulatedNetwork
from testbed.network.diagnosis import require
from testbed.network.errors import RefusedError
from testbed.network.limits import LimitedGroup, check_limits, limited_group
from testbed.network.ownership import Ownership
from tests.network.conftest import star

pytestmark = pytest.mark.root
MIB = 2**20


@pytest.fixture(autouse=True)
def controllers_handed_down() -> Iterator[None]:
    """On a kernel with version 2 alone, whose root hands nothing down until somebody says so: here, the test."""
    handed_down = limits.VERSION_2[0] / "cgroup.subtree_control"
    missing = [name for name in ("memory", "cpu") if limits.home_of(name) is None and handed_down.exists()]
    for name in missing:
        handed_down.write_text(f"+{name}")
    yield
    for name in missing:
        handed_down.write_text(f"-{name}")


@pytest.fixture
def own(fresh_name: Callable[[], str]) -> Iterator[Ownership]:
    ownership = Ownership.create(fresh_name())
    yield ownership
    assert ownership.undo().failures == []


def limited(given: Limits) -> ResolvedTopology:
    topology = star(2, LinkParameters(1e6))
    device = msgspec.structs.replace(topology.devices["dev1"], limits=given)
    return msgspec.structs.replace(topology, devices=topology.devices | {"dev1": device})


def ended(group: LimitedGroup, script: str) -> subprocess.Popen[bytes]:
    """Python's end, whose first act is to enter the group."""
    child = subprocess.Popen([sys.executable, "-c", "input()\n" + script], stdin=subprocess.PIPE)
    group.enter(child.pid)
    child.communicate(b"\n", timeout=120)
    return child


def test_a_process_that_takes_more_memory_than_its_node_has_is_killed(own: Ownership) -> None:
    group = limited_group(own, limited(Limits(memory_bytes=64 * MIB)), "dev1")
    assert ended(group, f"data = bytearray({16 * MIB})").returncode == 0
    assert ended(group, f"data = b'x' * {256 * MIB}").returncode == -signal.SIGKILL


def test_a_busy_process_gets_the_time_its_node_has(own: Ownership, tmp_path: Path) -> None:
    group = limited_group(own, limited(Limits(cpus=0.25)), "dev1")
    said = tmp_path / "share"
    script = (
        "import time, pathlib\nbegan, used = time.monotonic(), time.process_time()\n"
        "while time.monotonic() < began + 3: pass\n"
        "share = (time.process_time() - used) / (time.monotonic() - began)\n"
        f"pathlib.Path({str(said)!r}).write_text(str(share))"
    )
    assert ended(group, script).returncode == 0
    assert 0.1 < float(said.read_text()) < 0.4, said.read_text()


def test_a_node_without_limits_is_held_to_nothing(own: Ownership) -> None:
    before = Path("/proc/self/cgroup").read_text()
    limited_group(own, limited(Limits(cpus=0.25)), "dev2").enter(os.getpid())
    assert Path("/proc/self/cgroup").read_text() == before


def test_groups_are_journalled_and_go_with_whoever_is_in_them(fresh_name: Callable[[], str]) -> None:
    own, other = Ownership.create(fresh_name()), Ownership.create(fresh_name())
    topology = limited(Limits(memory_bytes=64 * MIB, cpus=0.5))
    group, others = limited_group(own, topology, "dev1"), limited_group(other, topology, "dev1")
    assert limited_group(own, topology, "dev1") == group
    journalled = {entry["path"] for entry in own.entries() if entry["kind"] == "cgroup"}
    assert {str(path) for path in group.paths} < journalled
    sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]  # not in the journal: only in the groups
    group.enter(sleepers[0].pid)
    others.enter(sleepers[1].pid)
    assert sleepers[0].pid in {one.pid for one in Ownership.open(own.name).processes()}
    assert own.undo().failures == []
    assert sleepers[0].wait() == -signal.SIGTERM and sleepers[1].poll() is None
    assert not any(path.exists() or path.parent.exists() for path in group.paths)
    assert all(path.exists() for path in others.paths)
    assert other.undo().failures == []
    assert sleepers[1].wait() == -signal.SIGTERM


def test_commands_in_a_node_are_held_to_its_limits(built: Callable[..., EmulatedNetwork]) -> None:
    network = built(limited(Limits(memory_bytes=512 * MIB)))
    network.ownership.release()
    command = [
        sys.executable,
        "-c",
        "from testbed.cli.main import main; main()",
        "exec",
        "--name",
        network.ownership.name,
    ]
    for node, held in (("dev1", True), ("dev2", False), ("ap1", False)):
        done = subprocess.run(
            [*command, node, "--", "cat", "/proc/self/cgroup"], capture_output=True, text=True, check=True
        )
        assert (f"/{network.ownership.label}:limits/node-{node}\n" in done.stdout) is held


def test_undo_by_a_process_inside_a_group_leaves_it_first(fresh_name: Callable[[], str]) -> None:
    own = Ownership.create(fresh_name())
    topology = limited(Limits(memory_bytes=256 * MIB, cpus=0.5))
    own.release()
    script = (
        f"import os; from testbed.network.ownership import Ownership; own = Ownership.open({own.name!r})\n"
        "from testbed.network.limits import LimitedGroup; from pathlib import Path\n"
        f"LimitedGroup(tuple(map(Path, {[str(path) for path in limited_group(own, topology, 'dev1').paths]!r})))"
        ".enter(os.getpid())\n"
        "own.enter_cgroup()\n"
        "report = own.undo(); assert not report.failures, report.failures"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_what_cannot_be_held_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    topology = limited(Limits(memory_bytes=64 * MIB))
    require(topology)
    monkeypatch.setattr(limits, "VERSION_2", (tmp_path,))
    with pytest.raises(RefusedError, match=r"limits of dev1 .*the memory controller .*cgroup_enable=memory"):
        require(topology)
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu\n")
    with pytest.raises(RefusedError, match=rf"echo \+memory > {tmp_path}/cgroup.subtree_control"):
        check_limits(topology)
    check_limits(limited(Limits(cpus=0.5)))
    check_limits(star(1, LinkParameters(1e6)))
