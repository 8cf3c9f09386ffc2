"""Journal, lock, cgroup and undoing: what is ours goes, whatever happened; what is not stays."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed.documents.resolved import LinkParameters
from testbed.network import cgroup
from testbed.network.build import EmulatedNetwork
from testbed.network.errors import AlreadyUpError, BusyError, NotUpError
from testbed.network.ownership import RUN_FOLDER, Ownership, names_up, resolve_name
from testbed.network.processes import Process, is_alive, process
from testbed.network.shape import Shaping
from testbed.network.undo import this_boot
from tests.network.conftest import OPEN_VSWITCH, star

pytestmark = pytest.mark.root


@pytest.fixture
def own(fresh_name: Callable[[], str]) -> Iterator[Ownership]:
    ownership = Ownership.create(fresh_name())
    yield ownership
    ownership.undo()


@pytest.fixture
def strangers(fresh_name: Callable[[], str]) -> Iterator[Callable[[], bool]]:
    """A namespace with a bridge in it, and a process, that are none of ours; tells whether they are still there."""
    name = fresh_name()
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "add", "br0", "type", "bridge"], check=True)
    sleeper = subprocess.Popen(["ip", "netns", "exec", name, "sleep", "600"])

    def there() -> bool:
        bridge = subprocess.run(["ip", "-n", name, "link", "show", "br0"], capture_output=True, check=False)
        return bridge.returncode == 0 and sleeper.poll() is None

    assert there()
    yield there
    sleeper.kill()
    sleeper.wait()
    subprocess.run(["ip", "netns", "delete", name], check=True)


def recorded(ownership: Ownership) -> set[Process]:
    return {Process(entry["pid"], entry["start"]) for entry in ownership.entries() if entry["kind"] == "process"}


def eventually(true: Callable[[], bool]) -> None:
    """Waits until something is so; the test's own time limit ends it."""
    while not true():
        time.sleep(0.01)


def nothing_left(ownership: Ownership, processes: set[Process]) -> bool:
    return (
        not (RUN_FOLDER / ownership.name).exists()
        and not any(is_alive(one) for one in processes)
        and (ownership.group is None or not ownership.group.exists())
        and ownership.name not in names_up()
    )


def test_a_process_is_in_the_journal_and_the_cgroup_before_it_does_anything(own: Ownership, tmp_path: Path) -> None:
    script = f"cd {tmp_path}; cat /proc/self/cgroup > cgroup; cp {own.journal} journal; echo $$ > pid; sleep 600"
    pid = own.spawn(["sh", "-c", script])
    eventually(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    assert int((tmp_path / "pid").read_text()) == pid
    lines = [json.loads(line) for line in (tmp_path / "journal").read_text().split("\n") if line]
    assert {"kind": "process", "pid": pid, "start": process(pid).start, "name": "sh"} in lines  # type: ignore[union-attr]
    assert own.group is None or own.group.name in (tmp_path / "cgroup").read_text()


def test_spawned_processes_run_where_and_as_they_should(own: Ownership, tmp_path: Path) -> None:
    holder = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    try:
        mine = Path("/proc/self/ns/net").readlink()
        eventually(lambda: Path(f"/proc/{holder.pid}/ns/net").readlink() != mine)
        with (tmp_path / "out").open("wb") as out:
            pid = own.spawn(
                ["sh", "-c", "echo $COLOUR; pwd; readlink /proc/self/ns/net"],
                env={**os.environ, "COLOUR": "green"},
                cwd=tmp_path,
                stdout=out,
                in_pid_netns=holder.pid,
            )
        os.waitpid(pid, 0)
        there = str(Path(f"/proc/{holder.pid}/ns/net").readlink())
        assert (tmp_path / "out").read_text().split() == ["green", str(tmp_path), there]
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize("hierarchies", [cgroup.HIERARCHIES, ()], ids=["cgroup", "pids alone"])
def test_undo_ends_stubborn_processes_and_their_children(
    monkeypatch: pytest.MonkeyPatch, fresh_name: Callable[[], str], tmp_path: Path, hierarchies: tuple[Path, ...]
) -> None:
    monkeypatch.setattr(cgroup, "HIERARCHIES", hierarchies)
    own = Ownership.create(fresh_name())
    assert (own.group is not None) is bool(hierarchies)
    script = f"trap '' TERM; sh -c \"trap '' TERM; echo up > {tmp_path}/up; sleep 600\"; sleep 600"
    stopped = own.spawn(["sleep", "600"])
    own.spawn(["sh", "-c", script])
    eventually((tmp_path / "up").exists)
    os.kill(stopped, signal.SIGSTOP)
    everyone = set(own.processes())
    assert len(everyone) >= 4
    report = own.undo()
    assert report.failures == [] and report.processes >= 4
    assert nothing_left(own, everyone)


def test_undo_finds_children_whose_parents_are_gone(own: Ownership, tmp_path: Path) -> None:
    if own.group is None:
        pytest.skip("no cgroup can be made here: orphans cannot be found")
    pid = own.spawn(["sh", "-c", f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 600' & exit"])
    os.waitpid(pid, 0)
    eventually(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    orphan = process(int((tmp_path / "pid").read_text()))
    assert orphan in own.processes()
    assert own.undo().failures == []
    assert orphan and not is_alive(orphan)


def test_a_pid_used_again_by_another_process_is_left_alone(own: Ownership) -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        known = process(stranger.pid)
        assert known
        own.record("process", pid=known.pid, start=known.start - 1, name="long gone")
        assert own.undo().failures == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_adopted_processes_go_too(own: Ownership) -> None:
    child = subprocess.Popen(["sleep", "600"])
    own.adopt(child.pid)
    assert child.pid in {one.pid for one in own.processes()}
    own.undo()
    assert child.wait() == -signal.SIGTERM


def test_recorded_files_go_and_others_stay(own: Ownership, tmp_path: Path) -> None:
    ours, folder, theirs = tmp_path / "ours", tmp_path / "folder", tmp_path / "theirs"
    for path in (ours, folder, tmp_path / "never made"):
        own.record("file", path=str(path))
    ours.touch()
    folder.mkdir()
    theirs.mkdir()
    (theirs / "precious").touch()
    (folder / "link").symlink_to(theirs)
    assert own.undo().failures == []
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["precious", "theirs"]


def test_undo_may_be_repeated(own: Ownership) -> None:
    own.spawn(["sleep", "600"])
    assert own.undo().processes == 1
    again = own.undo()
    assert (again.processes, again.failures) == (0, [])


def test_a_line_cut_short_spoils_neither_what_came_before_nor_after(own: Ownership) -> None:
    first = own.spawn(["sleep", "600"])
    eventually(lambda: first in {one.pid for one in recorded(own)})
    with own.journal.open("ab") as journal:
        journal.write(b'{"kind":"process","pid":1,"sta')
    second = own.spawn(["sleep", "600"])
    eventually(lambda: second in {one.pid for one in recorded(own)})
    both = recorded(own)
    assert {one.pid for one in both} == {first, second}
    assert own.undo().failures == []
    assert nothing_left(own, both)


def test_a_journal_cut_anywhere_keeps_what_came_before_the_cut_and_what_is_written_after(own: Ownership) -> None:
    own.record("file", path='/tmp/"quoted\\ \u00e9 {"kind":"file"}')
    own.record_all({"kind": "namespace", "node": f"dev{number}"} for number in range(3))
    pid = own.spawn(["sleep", "600"])
    eventually(lambda: pid in {one.pid for one in recorded(own)})
    whole, text = own.entries(), own.journal.read_bytes()
    ends = [match.end() for match in re.finditer(rb"[^\n]+", text)]  # of the lines: their break may be cut away too
    for cut in range(len(text) + 1):
        own.journal.write_bytes(text[:cut])
        own.record("namespace", node="later")
        kept = sum(end <= cut for end in ends)
        assert own.entries() == [*whole[:kept], {"kind": "namespace", "node": "later"}]
    own.journal.write_bytes(text)


@pytest.mark.parametrize("kept", ["nothing of it", "all but its end"])
@pytest.mark.parametrize("kind", ["process", "namespace", "interface", "file"])
def test_a_testbed_whose_journal_was_cut_short_is_undone_all_the_same(
    fresh_name: Callable[[], str], strangers: Callable[[], bool], kind: str, kept: str
) -> None:
    own = Ownership.create(fresh_name())
    if own.group is None:
        own.undo()
        pytest.skip("no cgroup can be made here: what the journal has lost cannot be found")
    network = EmulatedNetwork.build(star(2, LinkParameters(10e6)), Shaping.RELAY, own)
    own.spawn(["sleep", "600"])
    everyone = set(own.processes())
    text = own.journal.read_bytes()
    line = re.search(rb'\{"kind":"' + kind.encode() + rb'"[^\n]*', text)
    assert line and len(everyone) >= 6
    own.journal.write_bytes(text[: line.start() if kept == "nothing of it" else line.end() - 1])
    own.release()
    assert Ownership.open(own.name).undo().failures == []
    network.stop()
    assert nothing_left(own, everyone)
    assert strangers()


def test_of_a_journal_from_before_the_machine_was_started_anew_nothing_is_ended(fresh_name: Callable[[], str]) -> None:
    own = Ownership.create(fresh_name())
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        now_its = process(stranger.pid)
        assert now_its
        own.record("process", pid=now_its.pid, start=now_its.start, name="had the same pid and start time")
        own.record("process", pid=4_000_000, start=1, name="gone")
        own.record("namespace", node="dev1")
        own.record("interface", node="dev1", name="eth0")
        own.record("cgroup", path="/sys/fs/cgroup/testbed-gone:limits/node-dev1")
        own.record("file", path=str(own.folder / "gone" / "board"))
        assert set(own.processes()) == {now_its}  # it would be ended
        own.journal.write_text(own.journal.read_text().replace(this_boot(), "01234567-89ab-cdef-0123-456789abcdef"))
        assert own.processes() == {}
        if own.group:
            own.group.rmdir()
        report = own.undo()
        assert (report.processes, report.failures) == (0, [])
        assert nothing_left(own, set()) and stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_testbeds_built_and_undone_side_by_side_keep_to_themselves(
    fresh_name: Callable[[], str], strangers: Callable[[], bool]
) -> None:
    def build() -> tuple[Ownership, EmulatedNetwork]:
        own = Ownership.create(fresh_name())
        return own, EmulatedNetwork.build(star(3, LinkParameters(10e6)), Shaping.RELAY, own)

    with ThreadPoolExecutor(3) as pool:
        (first, first_network), (other, other_network), (stays, stays_network) = pool.map(lambda _: build(), range(3))
        everyone, theirs = set(first.processes()) | set(other.processes()), set(stays.processes())
        assert not everyone & theirs
        reports = list(pool.map(Ownership.undo, (first, other)))
    assert [report.failures for report in reports] == [[], []]
    for network in (first_network, other_network):
        network.stop()
    assert nothing_left(first, everyone) and nothing_left(other, everyone) and strangers()
    assert set(stays.processes()) == theirs
    assert "1 received" in stays_network.mininet["dev1"].cmd("ping -c 1 -W 5", stays_network.address("edge1"))
    stays_network.stop()
    assert stays.undo().failures == []
    assert nothing_left(stays, theirs)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"kind":"process"}',
        b'{"kind":"file"}',
        b'{"kind":"cgroup","path":7}',
        b'{"kind":"?"}',
    ],
)
def test_nonsense_in_the_journal_stops_nothing(own: Ownership, line: bytes) -> None:
    with own.journal.open("ab") as journal:
        journal.write(line + b"\n")
    own.spawn(["sleep", "600"])
    assert own.undo().failures == []
    assert nothing_left(own, set())


def test_one_command_at_a_time(own: Ownership) -> None:
    with pytest.raises(BusyError, match=f"testbed '{own.name}' is being worked on by process {os.getpid()}"):
        Ownership.open(own.name).undo()
    with pytest.raises(BusyError):
        Ownership.create(own.name)
    own.release()
    with pytest.raises(AlreadyUpError, match=f"testbed down {own.name}"):
        Ownership.create(own.name)
    other = Ownership.open(own.name)
    other.acquire()
    with pytest.raises(BusyError):
        own.acquire()
    other.release()


def test_the_lock_goes_with_the_process_that_held_it(fresh_name: Callable[[], str]) -> None:
    name = fresh_name()
    script = (
        f"from testbed.network.ownership import Ownership; own = Ownership.create({name!r});"
        " own.spawn(['sleep', '600']); print('up', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"up\n"
        with pytest.raises(BusyError):
            Ownership.open(name).acquire()
        child.kill()
    own = Ownership.open(name)
    own.acquire()
    assert own.undo().processes == 1


def test_names(own: Ownership, fresh_name: Callable[[], str]) -> None:
    assert own.name in names_up()
    assert resolve_name(own.name) == own.name
    with pytest.raises(NotUpError, match=f"is up .*{own.name}"):
        resolve_name(fresh_name())


BUILDER = """
import sys
import msgspec
from tests.network.conftest import OPEN_VSWITCH, star
from testbed.documents.resolved import LinkParameters
from testbed.network.build import EmulatedNetwork
from testbed.network.ownership import Ownership
from testbed.network.probe import choose_shaping
own = Ownership.create(sys.argv[1])
topology = msgspec.structs.replace(star(3, LinkParameters(10e6, 0.001)), switch=sys.argv[2])
EmulatedNetwork.build(topology, choose_shaping(), own)
own.spawn(["sh", "-c", "sleep 600 & exec sleep 600"])
print("built", flush=True)
input()
"""


def killed_while_building(name: str, lines: int | None, switch: str = "bridge") -> None:
    """Builds in a process of its own, killed when the journal has so many lines, or when all is built."""
    journal = RUN_FOLDER / name / "local" / "journal.jsonl"
    command = [sys.executable, "-c", BUILDER, name, switch]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as builder:
        if lines is None:
            assert builder.stdout and builder.stdout.readline() == b"built\n"
        else:
            with contextlib.suppress(FileNotFoundError):
                while not journal.exists():
                    time.sleep(0.0005)
                while journal.read_text().count('"kind"') < lines and not (journal.parent / "state.json").exists():
                    time.sleep(0.0002)
        builder.kill()


def undone_after_a_kill(name: str, lines: int | None, switch: str = "bridge") -> None:
    killed_while_building(name, lines, switch)
    own = Ownership.open(name)
    everyone = recorded(own) | set(own.processes())
    assert own.undo().failures == []
    assert nothing_left(own, everyone)


@pytest.mark.parametrize("lines", [1, 2, 4, 9, 18, 24, None])
def test_a_build_killed_at_any_point_is_undone_and_strangers_stay(
    fresh_name: Callable[[], str], strangers: Callable[[], bool], lines: int | None
) -> None:
    undone_after_a_kill(fresh_name(), lines)
    assert strangers()


@pytest.mark.kill
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("switch", ["bridge", pytest.param("ovs", marks=OPEN_VSWITCH)])
def test_a_build_killed_after_each_thing_made(
    fresh_name: Callable[[], str], strangers: Callable[[], bool], switch: str
) -> None:
    for lines in range(1, 40):
        undone_after_a_kill(fresh_name(), lines, switch)
        assert strangers()


def test_namespaces_end_with_their_owner_and_undo_takes_what_is_left(fresh_name: Callable[[], str]) -> None:
    name = fresh_name()
    killed_while_building(name, None)
    own = Ownership.open(name)
    eventually(lambda: "sh" in own.processes().values())
    everyone = set(own.processes())
    own.undo()
    assert nothing_left(own, everyone)


def test_a_network_that_failed_to_build_is_undone(fresh_name: Callable[[], str]) -> None:
    own = Ownership.create(fresh_name())
    topology = star(2, LinkParameters(10e6))
    wrong = type(topology)(
        topology.name, topology.access_points, topology.edges, topology.devices, topology.links, "no-such-algorithm"
    )
    with pytest.raises(Exception, match=r"no congestion control 'no-such-algorithm': it has .*cubic"):
        EmulatedNetwork.build(wrong, Shaping.RELAY, own)
    everyone = recorded(own)
    assert own.undo().failures == []
    assert nothing_left(own, everyone)
