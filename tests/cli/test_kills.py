"""SIGKILL at drawn instants through up, run and down, of the command or of any process of the testbed: `down` leaves
nothing of ours, and strangers' objects stand.

A few rounds by default; more by hand: TESTBED_KILL_ROUNDS=100 pytest -m kill tests/cli/test_kills.py
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.network import cgroup

pytestmark = [pytest.mark.root, pytest.mark.kill, pytest.mark.timeout(3600)]

NAME = "kill-test"
ROUNDS = int(os.environ.get("TESTBED_KILL_ROUNDS", "3"))
LASTS_S = {"up": 8.0, "run": 8.0, "down": 1.5}
"""How long each command takes, about: instants are drawn within."""
PHASES = tuple(LASTS_S)

VICTIMS = {
    "network": "ray::NetworkActor",
    "devices": "ray::DeviceActor",
    "edge": "ray::EdgeActor",
    "raylet": "/raylet",
    "gcs": "/gcs_server",
    "relay": "/relay",
    "any": "",
    "decider": "ray::DeciderActor",
}
"""Whom to kill, by a word in the command line; the decider lives in a run that is decided by slots."""


def of_the_testbed(word: str) -> list[int]:
    """The testbed's processes with that word in their command line."""
    found = []
    group = cgroup.place(f"testbed-{NAME}")
    for member in cgroup.members(group) if group else ():
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{member.pid}/cmdline").read_bytes()
            if word.encode() in command.split(b"\0")[0]:
                found.append(member.pid)
    return found


def kill_at(process: subprocess.Popen[bytes], victim: str, instant_s: float) -> None:
    """Kill the victim at the instant, or as soon after it as it lives; then let the command come to its end."""
    time.sleep(instant_s)
    if victim == "command":
        process.kill()
    else:
        while process.poll() is None:
            if pids := of_the_testbed(VICTIMS[victim]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(random.Random(instant_s).choice(pids), signal.SIGKILL)
                break
            time.sleep(0.01)
    process.wait(timeout=600)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A namespace, a bridge and a Ray cluster of somebody else's, which must outlive all."""
    folder = Path("/tmp/stranger-ray")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    subprocess.run(["ip", "netns", "add", "stranger"], check=True)
    subprocess.run(["ip", "link", "add", "stranger0", "type", "bridge"], check=True)
    options = ["--num-cpus=0", "--include-dashboard=false", f"--temp-dir={folder}", "--object-store-memory=80000000"]
    ray = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}", *options],
        env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    time.sleep(3)  # its raylet and agents start after its port listens
    try:
        yield
        assert Path("/run/netns/stranger").exists()
        assert Path("/sys/class/net/stranger0").exists()
        assert ray.poll() is None  # --block ends when any of its processes does
        socket.create_connection(("127.0.0.1", port), 5).close()
    finally:
        ray.terminate()
        ray.wait(30)
        subprocess.run(["ip", "link", "del", "stranger0"], check=True)
        subprocess.run(["ip", "netns", "del", "stranger"], check=True)
        subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_down_cleans_up_after_a_kill(strangers, command, files, machine, tmp_path, number) -> None:
    draw = random.Random(number)
    phase = PHASES[number % len(PHASES)]
    others = ["command", *(name for name in VICTIMS if name != "decider")]
    victim = {"up": draw.choice(others), "run": draw.choice(["decider", *others]), "down": "command"}[phase]
    if number == PHASES.index("run"):  # of the few rounds one is the decider's
        victim = "decider"
    instant_s = draw.uniform(0, LASTS_S[phase])
    print(f"SIGKILL of {victim} {instant_s:.2f} s into {phase}")
    topology, workload = files(NAME, policy="grl" if victim == "decider" else "greedy")
    if phase != "up":
        command("up", topology)
    arguments = {
        "up": ["up", topology],
        "run": ["run", workload, "--name", NAME, "--output", tmp_path],
        "down": ["down", NAME],
    }[phase]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        kill_at(subprocess.Popen([sys.executable, "-m", "testbed", *arguments], **quiet), victim, instant_s)
    finally:
        command("down", NAME, check=False)  # which has nothing to do where the command undid what it could not finish
    assert NAME not in machine.holdings()["testbeds"]
