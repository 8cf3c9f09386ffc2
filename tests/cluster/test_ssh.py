"""Connections to lab machines: what they carry, and why there is none."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from testbed.cluster import ssh
from testbed.documents.resolved import Machine
from testbed.network.namespace import call_in
from tests.cluster.lab import Lab, new_key

pytestmark = pytest.mark.root

AWKWARD = ["", "two words", "it's", "$HOME", "`id`", "; exit 7", "*", "\n", "ü", "--", "-n"]
TELL = "import json, sys; print(json.dumps(sys.argv[1:])); sys.stderr.write(sys.stdin.read()); sys.exit(3)"


def machines(lab: Lab, **changes: Any) -> list[Machine]:
    document = lab.document(**changes)
    return [Machine(name, **{"python": sys.executable, **entry}) for name, entry in document.items()]


@pytest.fixture
def within(lab: Lab) -> Callable[[Callable[[], Any]], Any]:
    """Calls a function in the network of the driver's machine."""
    return lambda function: call_in(lab.driver.pid, function)


@pytest.fixture
def remote(lab: Lab, within: Any) -> Iterator[ssh.Remote]:
    """The connection from the first machine to the second."""
    with contextlib.ExitStack() as stack:
        yield within(lambda: stack.enter_context(ssh.all_connected(machines(lab)[1:2])))["lab2"]


def refusals(within: Any, asked: Sequence[Machine]) -> dict[str, tuple[str, str]]:
    """What kind of error each machine gives, and its text, which is one line that begins with its name."""

    def attempt() -> dict[str, Any]:
        with ssh.connected(asked) as found:
            return dict(found)

    result = within(attempt)
    for name, one in result.items():
        assert isinstance(one, ssh.Remote) or (str(one).startswith(f"{name} (") and "\n" not in str(one))
    return {name: (type(one).__name__, str(one)) for name, one in result.items()}


def test_a_command_has_its_words_streams_and_status_untouched(remote):
    done = remote.run([sys.executable, "-c", TELL, *AWKWARD], b"in" * 500_000)
    assert json.loads(done.stdout) == AWKWARD
    assert (done.exit_status, done.stderr) == (3, b"in" * 500_000)


def test_what_a_command_writes_arrives_as_it_writes_it_and_it_reads_what_the_caller_does(remote):
    read, write = os.pipe()
    out, err = io.BytesIO(), io.BytesIO()
    status: list[int] = []
    thread = threading.Thread(target=lambda: status.append(remote.stream(["sh", "-c", "cat; exit 5"], read, out, err)))
    thread.start()
    for word in (b"one\n", b"two\n"):
        os.write(write, word)
        until = time.monotonic() + 10
        while not out.getvalue().endswith(word) and time.monotonic() < until:
            time.sleep(0.01)
        assert out.getvalue().endswith(word)
    os.close(write)
    thread.join(10)
    os.close(read)
    assert (status, out.getvalue(), err.getvalue()) == ([5], b"one\ntwo\n", b"")


def test_all_machines_are_asked_at_the_same_time(lab, within):
    def ask(one: ssh.Remote) -> list[str]:
        return one.run(["sh", "-c", "date +%s.%N; sleep 2; date +%s.%N; hostname"]).stdout.decode().split()

    def answers() -> dict[str, Any]:
        with ssh.all_connected(machines(lab)) as found:
            return ssh.in_parallel(ask, found)

    result = within(answers)
    assert {name: words[2] for name, words in result.items()} == {name: name for name in ("lab1", "lab2", "lab3")}
    assert max(float(words[0]) for words in result.values()) < min(float(words[1]) for words in result.values())


def test_a_file_is_written_whole_and_for_its_owner_alone(remote, tmp_path):
    path = tmp_path / "it's a token"
    path.write_text("old")
    content = bytes(range(256)) * 1000
    remote.put(content, str(path))
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ssh.FailedError, match=r"lab2 .*: /no/such/folder/file could not be written: .*nonexistent"):
        remote.put(b"", "/no/such/folder/file")


def test_a_command_may_take_no_longer_than_it_is_given(remote):
    with pytest.raises(ssh.UnreachableError, match=r"^lab2 .*: sleep 20 gave no answer within 0\.2 s$"):
        remote.run(["sleep", "20"], timeout_s=0.2)
    assert remote.run(["true"]).exit_status == 0


def test_a_cut_cable_is_noticed_while_a_command_runs_and_after(lab, within, monkeypatch):
    monkeypatch.setattr(ssh, "SILENCE_S", 1.0)

    def attempt() -> tuple[str, str]:
        with ssh.all_connected(machines(lab)[1:2]) as found:
            threading.Timer(0.3, lab.machines[1].cut).start()
            told = []
            for command in (["sleep", "60"], ["true"]):
                with pytest.raises(ssh.UnreachableError) as error:
                    found["lab2"].run(command, timeout_s=30)
                told.append(str(error.value))
            return told[0], told[1]

    try:
        while_it_ran, after = within(attempt)
    finally:
        lab.machines[1].mend()
    assert (
        while_it_ran == after == "lab2 (10.9.0.2): the connection to it broke (it ended): is it on, and its cable in?"
    )


def test_a_host_that_is_not_known_is_refused_and_what_is_advised_lets_it_in(lab, within, tmp_path):
    known = tmp_path / "known hosts"
    refused = refusals(within, machines(lab, known_hosts=str(known)))
    assert {kind for kind, _ in refused.values()} == {"UnknownHostError"}
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", lab.folder / "lab2.key.pub"], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert fingerprint in refused["lab2"][1]
    advice = refused["lab2"][1].split(" run ")[-1]
    lab.driver.run("sh", "-c", advice)
    after = refusals(within, machines(lab, known_hosts=str(known)))
    assert [kind for kind, _ in after.values()] == ["UnknownHostError", "Remote", "UnknownHostError"]


def test_a_changed_host_key_is_refused_and_what_is_advised_lets_it_in(lab, within, tmp_path):
    known = tmp_path / "known_hosts"
    lines = lab.known_hosts.read_text().splitlines()
    first = lines[0].split(maxsplit=1)[1]
    known.write_text("\n".join([lines[0], f"{lab.machines[1].address} {first}", lines[2], ""]))
    refused = refusals(within, machines(lab, known_hosts=str(known)))
    assert [kind for kind, _ in refused.values()] == ["Remote", "ChangedHostKeyError", "Remote"]
    assert "somebody may be in between" in refused["lab2"][1]
    lab.driver.run("sh", "-c", refused["lab2"][1].split(" run ")[-1])
    after = refusals(within, machines(lab, known_hosts=str(known)))
    assert {kind for kind, _ in after.values()} == {"Remote"}


def test_a_wrong_key_is_refused_with_the_way_to_let_it_in(lab, within, tmp_path):
    key = tmp_path / "other"
    new_key(key)
    kind, text = refusals(within, machines(lab, key_file=str(key)))["lab3"]
    assert kind == "NoLoginError"
    assert f"does not let root in with {key}: ssh-copy-id -i {key}.pub root@10.9.0.3" in text
    kind, text = refusals(within, machines(lab, key_file=str(tmp_path / "none")))["lab3"]
    assert kind == "NoLoginError" and "there is no key file" in text
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", key], check=True)
    kind, text = refusals(within, machines(lab, key_file=str(key)))["lab3"]
    assert kind == "NoLoginError" and text.endswith(f"ssh-add {key}")


def test_keys_and_known_hosts_lie_where_openssh_has_them(lab, within, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    usual = [Machine(one.name, one.address) for one in machines(lab)[:1]]
    assert refusals(within, usual)["lab1"][0] == "UnknownHostError"
    folder = tmp_path / ".ssh"
    folder.mkdir()
    (folder / "known_hosts").write_text(lab.known_hosts.read_text())
    kind, text = refusals(within, usual)["lab1"]
    assert kind == "NoLoginError" and "without a key: ssh-keygen" in text
    (folder / "id_ed25519").write_text(lab.login.read_text())
    (folder / "id_ed25519").chmod(0o600)
    assert refusals(within, usual)["lab1"][0] == "Remote"


def test_a_user_without_sudo_is_refused(lab, within):
    found = refusals(within, [*machines(lab)[:1], *machines(lab, user="tester")[1:]])
    assert [kind for kind, _ in found.values()] == ["Remote", "NoSudoError", "NoSudoError"]
    if shutil.which("sudo"):
        assert "tester may not use sudo without a password" in found["lab2"][1]
        assert "echo 'tester ALL=(root) NOPASSWD: ALL' >/etc/sudoers.d/testbed" in found["lab2"][1]
    else:
        assert "apt install sudo" in found["lab2"][1]


@pytest.mark.skipif(shutil.which("sudo") is None, reason="needs sudo: apt install sudo")
def test_a_user_with_sudo_does_all_as_root(lab, within, tmp_path):
    def attempt() -> ssh.Completed:
        with ssh.all_connected(machines(lab, user="helper")[1:2]) as found:
            found["lab2"].put(b"secret", str(tmp_path / "token"))
            return found["lab2"].run([sys.executable, "-c", TELL, *AWKWARD], b"in")

    done = within(attempt)
    assert json.loads(done.stdout) == AWKWARD
    assert (done.exit_status, done.stderr) == (3, b"in")
    assert (tmp_path / "token").stat().st_uid == 0


def test_a_machine_that_is_off_or_speaks_no_ssh_is_told_beside_the_others(lab, within):
    lab.machines[2].off()
    try:
        one, two, three = machines(lab)
        found = refusals(within, [one, Machine(two.name, two.address, port=1), three])
    finally:
        lab.machines[2].on()
    assert [kind for kind, _ in found.values()] == ["Remote", "UnreachableError", "UnreachableError"]
    assert "does not answer at port 1 (Connection refused): switch it on" in found["lab2"][1]
    assert re.search(r"does not answer at port 22 \((No route to host|timed out)\): switch it on", found["lab3"][1])


def test_all_or_none_gives_a_line_for_each_that_fails(lab, within, tmp_path):
    def attempt() -> None:
        with ssh.all_connected(machines(lab, known_hosts=str(tmp_path / "none"))):
            pass

    with pytest.raises(ssh.MachinesError) as found:
        within(attempt)
    assert [line.split(" ")[0] for line in str(found.value).splitlines()] == ["lab1", "lab2", "lab3"]


def test_who_interrupts_does_not_wait_for_the_machines(lab):
    machine = {"name": "lab2", **lab.document()["lab2"]}
    code = """
import json, os, signal, sys, threading
from testbed.cluster import ssh
from testbed.documents.resolved import Machine
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever shell began these tests
with ssh.all_connected([Machine(**json.loads(sys.argv[1]))]) as found:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    ssh.in_parallel(lambda one: one.run(["sleep", "60"]), found)
"""
    began = time.monotonic()
    done = lab.driver.run(sys.executable, "-c", code, json.dumps(machine), check=False)
    assert time.monotonic() - began < 40
    assert done.returncode != 0 and done.stderr.rstrip().endswith("KeyboardInterrupt")
