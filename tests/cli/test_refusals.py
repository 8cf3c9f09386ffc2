"""What cannot be done: one clear line, exit status 2, and nothing made; and what is interrupted: nothing left."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ERRORS = sorted((Path(__file__).parents[1] / "documents" / "errors").glob("*.yaml"))
STAR = Path(__file__).parents[2] / "topologies" / "star.yaml"
POOR_CHANNEL = Path(__file__).parents[2] / "workloads" / "poor_channel.yaml"

MINE = """
from testbed.jobs.decision import Decision
from testbed.offloading.prediction import reachable


class Last:
    def __init__(self, seed, edge):
        self.edge = edge

    def decide(self, observation):
        return next(one for one in reversed(reachable(observation)) if one.edge == self.edge)
"""


@pytest.mark.root
@pytest.mark.parametrize("file", ERRORS, ids=lambda file: file.stem)
def test_a_broken_file_brings_nothing_up(command, machine, file: Path) -> None:
    done = command("up", file, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines and all(line.startswith((f"{file}:", f"{file.parent}/")) for line in lines)


def test_there_are_twenty_broken_files() -> None:
    assert len(ERRORS) >= 20


@pytest.mark.root  # to make a namespace in which it is nobody
@pytest.mark.parametrize("arguments", [("up", STAR), ("run", POOR_CHANNEL, "--topology", STAR), ("status",), ("down",)])
def test_without_root_it_says_how(machine, arguments: tuple[object, ...]) -> None:
    command = ["unshare", "--user", sys.executable, "-m", "testbed", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "root" in line and "sudo" in line


@pytest.mark.root
def test_a_workload_that_asks_for_what_is_not_there_is_refused_before_anything_is_made(command, files, machine) -> None:
    for policy, complaint in {
        "{name: fixed, split: layer3, kept_channels: 77, bits: 4}": "profile has no such option",
        "nowhere.to.be:Found": "cannot import nowhere.to.be",
        "gredy": "greedy",
    }.items():
        topology, workload = files("refused-test", policy=policy)
        done = command("run", workload, "--topology", topology, check=False)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert complaint in line


@pytest.mark.root
def test_a_policy_of_ones_own_decides(command, files, machine, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    topology, workload = files("policy-test", policy='{name: "mine:Last", edge: edge1}')
    command("run", workload, "--topology", topology, "--output", "results", cwd=tmp_path)
    (run,) = (tmp_path / "results").iterdir()
    summary = json.loads((run / "summary.json").read_bytes())
    assert summary["decisions"] == {"split/aecnn": summary["issued"]}


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_stored_and_its_testbed_undone(files, machine, tmp_path: Path, number: int) -> None:
    topology, workload = files("interrupt-test", duration="60 s")
    process = subprocess.Popen(
        [sys.executable, "-m", "testbed", "run", workload, "--topology", topology, "--output", tmp_path / "results"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr
    for line in process.stderr:
        if "run 1 of 1" in line:
            break
    (run,) = (tmp_path / "results").iterdir()
    while b"greedy" not in (run / "jobs.arrow").read_bytes():  # the test's time limit ends a wait in vain
        os.sched_yield()
    process.send_signal(number)
    rest = process.stderr.read()
    assert process.wait(timeout=120) == 130, rest
    summary = json.loads((run / "summary.json").read_bytes())
    assert summary["verdict"] == "INVALID" and "the run was interrupted" in summary["reasons"]
    assert summary["issued"] == summary["on_time"] + summary["late"] + summary["failed"] + summary["dropped"]
    assert summary["on_time"] > 0 and summary["dropped"] > 0
