"""The verbs that look at a testbed, enter it and take it down, as a user calls them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.documents.resolved import LinkParameters
from testbed.network.build import EmulatedNetwork
from testbed.network.ownership import RUN_FOLDER, Ownership, names_up
from testbed.network.processes import process
from testbed.network.shape import Shaping
from tests.network.conftest import star

pytestmark = pytest.mark.root
COMMAND = [sys.executable, "-c", "from testbed.cli.main import main; main()"]


def testbed(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


testbed.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def name(fresh_name: Callable[[], str]) -> Iterator[str]:
    """A testbed that is up: two devices and an edge, 20 ms away from each other, one way."""
    ownership = Ownership.create(fresh_name())
    network = EmulatedNetwork.build(
        star(2, LinkParameters(10e6, 0.018), LinkParameters(100e6, 0.002)), Shaping.RELAY, ownership
    )
    ownership.release()
    yield ownership.name
    network.stop()
    if ownership.folder.exists():
        ownership.undo()


def test_ping_agrees_with_the_links(name: str) -> None:
    done = testbed("exec", "--name", name, "dev1", "--", "ping", "-c", "10", "-i", "0.1", "edge1")
    assert done.returncode == 0, done.stderr
    quickest_ms = float(re.search(r"= ([\d.]+)/", done.stdout).group(1))  # type: ignore[union-attr]
    assert 40 <= quickest_ms < 44
    assert "10 received, 0% packet loss" in done.stdout


def test_exec_leaves_arguments_streams_and_exit_status_alone(name: str) -> None:
    script = "import sys; print(sys.argv[1:]); print('to stderr', file=sys.stderr, end=''); print(input()); sys.exit(7)"
    awkward = ["--name", "a b", "$HOME", "'", "--", "-c", "*"]
    done = testbed("exec", "--name", name, "dev1", "--", sys.executable, "-c", script, *awkward, input="to stdin\n")
    assert (done.returncode, done.stderr) == (7, "to stderr")
    assert done.stdout == f"{awkward}\nto stdin\n"


def test_signals_reach_the_command(name: str) -> None:
    script = "import signal, time; signal.signal(signal.SIGUSR1, lambda *_: exit(9)); print('ready', flush=True)"
    script += "; time.sleep(600)"
    arguments = [*COMMAND, "exec", "--name", name, "dev1", "--", sys.executable, "-c", script]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGUSR1)
        assert child.wait() == 9
    broken_pipe = testbed("exec", "--name", name, "dev1", "--", "sh", "-c", "kill -PIPE $$; echo ignored")
    assert (broken_pipe.returncode, broken_pipe.stdout) == (-signal.SIGPIPE, "")


def test_exec_tells_what_cannot_be_run(name: str) -> None:
    missing = testbed("exec", "--name", name, "dev1", "--", "no-such-program")
    assert missing.returncode == 127 and "no-such-program" in missing.stderr
    elsewhere = testbed("exec", "--name", name, "dev9", "--", "true")
    assert (elsewhere.returncode, elsewhere.stdout) == (2, "")
    assert elsewhere.stderr == "there is no node 'dev9': the nodes are ap1, edge1, dev1, dev2\n"


def test_names_resolve_inside_and_the_machines_own_hosts_stay(name: str) -> None:
    before = Path("/etc/hosts").read_bytes()
    done = testbed("exec", "--name", name, "dev2", "--", "getent", "hosts", "edge1", "dev1", "ap1", "localhost")
    found = dict(reversed(line.split()) for line in done.stdout.splitlines())  # type: ignore[misc]
    assert found == {"edge1": "10.1.0.2", "dev1": "10.1.0.3", "ap1": "10.1.0.1", "localhost": "127.0.0.1"}
    assert Path("/etc/hosts").read_bytes() == before


def test_status_tells_what_is_there(name: str) -> None:
    testbed("exec", "--name", name, "dev1", "--", "ping", "-c", "2", "-i", "0.1", "edge1")
    found = json.loads(testbed("status", name, "--json").stdout)["testbeds"][0]
    assert (found["name"], found["condition"], found["shaping"]) == (name, "up", "relay")
    assert {node["name"]: node["kind"] for node in found["nodes"]} == {
        "ap1": "access_point",
        "edge1": "edge",
        "dev1": "device",
        "dev2": "device",
    }
    links = {(*link["link"], link["direction"]): link for link in found["links"]}
    assert links["dev1", "ap1", "up"]["parameters"]["delay_s"] == 0.018
    assert links["dev1", "ap1", "up"]["counters"] == {"bytes": 168, "packets": 2, "dropped": 0}
    assert links["dev2", "ap1", "up"]["counters"]["packets"] == 0
    assert "relay" in {process["name"] for process in found["processes"]}
    text = testbed("status", "--name", name).stdout
    assert f"{name}: up, links shaped by relay" in text and "10 Mbit/s, 18 ms" in text


def test_down_takes_daemons_too_and_says_what_went(name: str) -> None:
    testbed(
        "exec",
        "--name",
        name,
        "dev1",
        "--",
        "setsid",
        "sh",
        "-c",
        "sleep 600 >/dev/null 2>&1 & sleep 600 >/dev/null 2>&1 &",
    )
    found = json.loads(testbed("status", name, "--json").stdout)["testbeds"][0]
    sleepers = [process["pid"] for process in found["processes"] if process["name"] == "sleep"]
    assert len(sleepers) == 2
    done = testbed("down", name)
    assert done.returncode == 0, done.stderr
    assert f"{name} is down: 8 processes, 4 namespaces, 6 interfaces" in done.stdout
    assert not any(process(pid) for pid in sleepers)
    assert name not in names_up()


def test_a_testbed_whose_owner_died_is_damaged_and_goes_down(fresh_name: Callable[[], str]) -> None:
    name = fresh_name()
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_verbs import *\n"
        f"network = EmulatedNetwork.build(star(1, LinkParameters(1e6)), Shaping.RELAY, Ownership.create({name!r}))\n"
        "print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"up\n"
        busy = testbed("down", name)
        assert busy.returncode == 2 and f"testbed '{name}' is being worked on by process {child.pid}" in busy.stderr
        child.kill()
    while json.loads(testbed("status", name, "--json").stdout)["testbeds"][0]["condition"] != "damaged":
        time.sleep(0.05)
    gone = testbed("exec", "--name", name, "dev1", "--", "true")
    assert gone.returncode == 2 and "testbed down" in gone.stderr
    assert testbed("down", name).returncode == 0
    assert not (RUN_FOLDER / name).exists()


def test_one_must_be_named_where_several_are_up(name: str, fresh_name: Callable[[], str]) -> None:
    other = Ownership.create(fresh_name())
    try:
        for verb in (["down"], ["exec", "dev1", "--", "true"]):
            done = testbed(*verb)
            assert done.returncode == 2
            assert name in done.stderr and other.name in done.stderr and "--name" in done.stderr
        assert {name, other.name} <= set(names_up())
    finally:
        other.undo()


def test_a_name_that_is_not_up_is_wrong_input(name: str) -> None:
    done = testbed("status", "nobody")
    assert done.returncode == 2 and done.stderr.startswith("no testbed 'nobody' is up (up: ")


def test_without_root_the_verbs_say_how_to_be_called() -> None:
    for verb in (["status"], ["down"], ["exec", "dev1", "--", "true"]):
        as_nobody = ["setpriv", "--reuid", "65534", "--clear-groups", *COMMAND, *verb]
        done = subprocess.run(as_nobody, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "this needs root, for namespaces and links: sudo testbed ...\n"


def test_doctor_tells_what_is_missing_and_how_to_mend_it(tmp_path: Path) -> None:
    whole = json.loads(testbed("doctor", "--json").stdout)
    assert whole["shaping"] in ("netem", "relay")
    assert whole["ok"] is all(check["ok"] or not check["needed"] for check in whole["checks"])
    for program in ("ip", "tc", "bridge", "ifconfig", "sh"):
        (tmp_path / program).symlink_to(subprocess.check_output(["which", program], text=True).strip())
    done = testbed("doctor", "--json", env={**os.environ, "PATH": str(tmp_path)})
    lacking = json.loads(done.stdout)
    assert done.returncode == 1 and lacking["ok"] is False
    missing = {check["name"]: check["remedy"] for check in lacking["checks"] if not check["ok"] and check["needed"]}
    assert missing == {"mnexec": "apt install mininet"}
