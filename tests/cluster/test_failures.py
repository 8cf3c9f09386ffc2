"""Three machines of four lost in one run, each in its way: what touches them fails and says so, the rest goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.reporting.stored_run import StoredRun
from tests.cli.test_whole import assert_balanced
from tests.cluster.lab import Lab, LabMachine, why_no_lab
from tests.cluster.test_whole import CACHE

pytestmark = [pytest.mark.root, pytest.mark.lab]

TOPOLOGY = """
name: lost-test
access_points: {ap1: {}}
edges:
  edge1: &edge {access_point: ap1, compute: {gflops: 200}}
  edge2: *edge
  edge3: *edge
  edge4: *edge
devices: {dev: {count: 2, compute: {gflops: 5}}}
links:
  - {between: [dev*, ap1], bandwidth: 20 Mbit/s, delay: 5 ms}
  - {between: [edge*, ap1], bandwidth: 20 Mbit/s, delay: 3 ms}
place: {ap1: lab1, dev*: lab1, edge1: lab1, edge2: lab2, edge3: lab3, edge4: lab4}
"""
WORKLOAD = """
name: lost
duration: 26 s
seed: 1
deadline: 300 ms
arrivals: {process: poisson, rate: 4 /s}
offloading: {policy: {name: "turns:Turns", edges: [edge1, edge2, edge3, edge4]}}
"""
TURNS = """
from testbed.jobs.decision import Decision, Kind, Option

class Turns:
    '''Job 0 goes to the first edge, job 1 to the second, and so on, whether they are in reach or not.'''

    def __init__(self, edges, seed):
        self.edges = edges

    def decide(self, observation):
        return Decision(Option(Kind.FULL, "jpeg"), self.edges[observation.job.job_id % len(self.edges)])
"""
WITHIN_S = 15.0


def kill(machine: LabMachine, word: str) -> None:
    """SIGKILL of a process of a machine, by a word in its command."""
    (pid,) = (pid for pid, argv in machine.pids().items() if argv[0].rpartition("/")[2] == word)
    os.kill(pid, signal.SIGKILL)


def seen_within(run: StoredRun, error: str, seconds: float) -> float:
    """After how long a job has failed for that reason, by the rows that the run has stored."""
    began_s = time.monotonic()
    while time.monotonic() < began_s + seconds:
        if run.jobs()["error"].astype(str).str.contains(error).any():
            return time.monotonic() - began_s
        time.sleep(0.3)
    raise AssertionError(f"after {seconds:g} s no job has failed for that {error}: {set(run.jobs()['error'])}")


def test_machines_that_are_lost_cost_the_jobs_that_touch_them_alone(tmp_path: Path) -> None:
    if fault := why_no_lab():
        pytest.skip(fault)
    with Lab(4) as lab:
        (tmp_path / "lost.yaml").write_text(f"{TOPOLOGY}machines: {json.dumps(lab.document())}\n")
        (tmp_path / "workload.yaml").write_text(WORKLOAD)
        (tmp_path / "turns.py").write_text(TURNS)
        lab.driver.testbed("up", tmp_path / "lost.yaml")
        try:
            said = lose_three(lab, tmp_path)
        finally:
            down = lab.driver.testbed("down", check=False)
        assert all(f"lab{number} is lost: " in said for number in (2, 3, 4)), said
        assert down.returncode == 1
        assert "lab4 (10.9.0.4): does not answer" in down.stdout and "`testbed down lost-test` on lab4" in down.stdout
        assert lab.machines[1].left() == lab.machines[2].left() == []
        lab.machines[3].mend()
        lab.driver.testbed("down")
        assert [machine.left() for machine in lab.machines] == [[], [], [], []]

    (path,) = (tmp_path / "results").iterdir()
    summary = json.loads((path / "summary.json").read_bytes())
    assert summary["verdict"] == "INVALID"
    assert {f"lab{number}" for number in (2, 3, 4)} == {
        reason.split(" ", 1)[0] for reason in summary["reasons"] if "is lost" in reason
    }
    jobs = assert_balanced(path)
    jobs["to"] = jobs["job_id"] % 4 + 1
    mine, others = jobs[jobs["to"] == 1], jobs[jobs["to"] != 1]
    assert len(mine) > 20 and mine["outcome"].isin(["on_time", "late"]).mean() > 0.95
    assert (others.loc[others["arrival_s"] < 1, "outcome"] == "on_time").all()
    late = others[others["arrival_s"] > 24]
    assert len(late) > 5 and late["outcome"].isin(["failed", "dropped"]).all()
    for row in late.itertuples():
        assert f"lab{row.to} is lost: " in row.error


def lose_three(lab: Lab, folder: Path) -> str:
    """A run in which three machines are lost; what the command said."""
    argv = [sys.executable, "-m", "testbed", "run", "workload.yaml", "--output", "results"]
    environment = [f"{name}={value}" for name, value in {**CACHE, "HOME": str(lab.home)}.items()]
    in_folder = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "-", str(folder)]
    running = subprocess.Popen(
        lab.driver.argv(*in_folder, "env", *environment, *argv),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        run = wait_for(lambda: next(map(StoredRun, (folder / "results").glob("*")), None), running)
        wait_for(lambda: len(run.jobs()) > 5, running)
        kill(lab.machines[1], "ray::NetworkActor")
        seen_within(run, "lab2 is lost: the process of its network died", WITHIN_S)
        kill(lab.machines[2], "raylet")
        lab.machines[3].cut()
        seen_within(run, "lab3 is lost: its Ray died, or it cannot be reached", WITHIN_S)
        seen_within(run, "lab4 is lost: its Ray died, or it cannot be reached", WITHIN_S)
        said, _ = running.communicate(timeout=120)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 1, said
    return said


def wait_for(what: Callable[[], object], running: subprocess.Popen[str]) -> StoredRun:
    """What it gives, once it gives something."""
    while not (found := what()):
        assert running.poll() is None, running.communicate()[0]
        time.sleep(0.2)
    return found  # type: ignore[return-value]
