"""What cannot be done: one clear line, exit status 2, and nothing made; and what is interrupted: nothing left."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ERRORS = sorted((Path(__file__).parents[1] / "documents" / "errors").glob("*.yaml"))
STAR = Path(__file__).parents[2] / "topologies" / "star.yaml"
POOR_CHANNEL = Path(__file__).parents[2] / "workloads" / "poor_channel.yaml"


@pytest.mark.root
@pytest.mark.parametrize("file", ERRORS[::5], ids=lambda file: file.stem)  # what is said of each: tests/documents
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
        time.sleep(0.02)
    process.send_signal(number)
    rest = process.stderr.read()
    assert process.wait(timeout=120) == 130, rest
    summary = json.loads((run / "summary.json").read_bytes())
    assert summary["verdict"] == "INVALID" and "the run was interrupted" in summary["reasons"]
    assert summary["issued"] == summary["on_time"] + summary["late"] + summary["failed"] + summary["dropped"]
    assert summary["on_time"] > 0 and summary["dropped"] > 0
