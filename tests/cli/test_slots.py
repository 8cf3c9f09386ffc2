"""Runs whose policy decides once a slot for all devices: rates allotted, a decider that is late, and one that dies."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from testbed.jobs.slot import LAST_FOR
from tests.cli.conftest import reasons

pytestmark = pytest.mark.root

TOPOLOGY = """
name: {name}
access_points: {{ap1: {{}}, ap2: {{}}}}
edges:
  edge1: {{access_point: ap1, compute: {{gflops: 200}}}}
  edge2: {{access_point: ap2, compute: {{gflops: 100}}}}
devices: {{dev: {{count: 2, compute: {{gflops: 5}}}}}}
links:
  - {{between: [dev*, ap1], bandwidth: 10 Mbit/s, delay: 5 ms}}
  - between: [dev*, ap2]
    delay: 3 ms
    channel: {{process: fading, distance: 80 m, path_loss_exponent: 3.5, transmit_power: 20 dBm, bandwidth: 1 MHz,
              noise: -160 dBm/Hz, fading: rician, k: 4, coherence_time: 50 ms}}
  - {{between: [edge1, ap1], bandwidth: 100 Mbit/s, delay: 0.2 ms}}
  - {{between: [edge2, ap2], bandwidth: 100 Mbit/s, delay: 0.2 ms}}
"""
MINE = """
import time

from testbed.jobs.decision import JPEG, Decision
from testbed.offloading.prediction import reachable
from testbed.offloading.slots import Assignment


class Turns:
    '''All to one edge, then to the other, with half of the rate.'''

    def __init__(self, seed, takes_s=0.0, share=0.5):
        self.takes_s, self.share = takes_s, share

    def decide_slot(self, observation):
        time.sleep(self.takes_s)
        edge = ("edge1", "edge2")[round(observation.now_s / 0.4) % 2]
        return {
            name: Assignment(Decision(JPEG, edge if edge in view.edges else "edge1"), self.share)
            for name, view in observation.devices.items()
        }


class ByJob:
    '''The last that can be decided, job by job.'''

    def __init__(self, seed, edge):
        self.edge = edge

    def decide(self, observation):
        return next(one for one in reversed(reachable(observation)) if one.edge == self.edge)


class Fails(Turns):
    def decide_slot(self, observation):
        return {} if observation.now_s > 1 else super().decide_slot(observation)
"""
BY_JOB = "{name: 'mine:ByJob', edge: edge1}"
TURNS, SLOW, FAILS = "{name: 'mine:Turns'}", "{name: 'mine:Turns', takes_s: 0.45}", "{name: 'mine:Fails'}"


def read(run: Path) -> tuple[dict, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A run's summary, jobs, links and slots."""
    tables = (pd.read_parquet(run / f"{name}.parquet") for name in ("jobs", "links", "slots"))
    return json.loads((run / "summary.json").read_bytes()), *tables


def rates(links: pd.DataFrame, peer: str, direction: str = "up") -> pd.Series:
    """What one device's link to an access point was set to, by the instants."""
    rows = links[(links["a"] == "dev1") & (links["b"] == peer) & (links["direction"] == direction)]
    return rows.set_index("t_s")["bandwidth_bps"]


@pytest.fixture
def mine(files, tmp_path: Path):
    """The policies, a topology of two edges, and a workload."""
    (tmp_path / "mine.py").write_text(MINE)

    def write(name: str, **fields: object) -> tuple[Path, Path]:
        topology, workload = files(name, **{"duration": "4 s", **fields})
        topology.write_text(TOPOLOGY.format(name=name))
        return topology, workload

    return write


def test_slots_are_decided_rates_allotted_and_late_deciders_replaced(command, mine, machine, tmp_path: Path) -> None:
    topology, workload = mine("slots-test", policy=f"[{BY_JOB}, {TURNS}, {SLOW}, {FAILS}]")
    done = command("run", workload, "--topology", topology, "--output", "results", cwd=tmp_path, check=False)
    assert done.returncode == 1, done.stderr  # for what fails to decide
    by_job, turns, slow, fails = sorted((tmp_path / "results").iterdir())
    assert not (by_job / "slots.parquet").exists()
    summary = json.loads((by_job / "summary.json").read_bytes())
    assert summary["slots"] is None and summary["decisions"] == {"split/aecnn": summary["issued"]}
    assert pd.read_parquet(by_job / "jobs.parquet")["decided_by"].isna().all()

    summary, jobs, links, slots = read(turns)
    assert all("slots were decided more than 5 ms after" in reason for reason in reasons(turns))  # by a busy machine
    assert "slots within 5 ms" in done.stdout
    assert set(jobs["edge"]) == {"edge1", "edge2"} and set(jobs["encoding"]) == {"jpeg"}
    decided_by = jobs["decided_by"].value_counts().to_dict()
    assert decided_by == summary["slots"]["decided_by"] and decided_by["slot"] > 0.5 * len(jobs)
    assert summary["slots"]["slots"] == 40
    assert len(slots) >= 30 and slots["slot"].is_monotonic_increasing
    for job in jobs[jobs["decided_by"] == "slot"].itertuples():  # what the slot's decision says, in every job's account
        assert job.edge == ("edge1", "edge2")[round(int(job.arrival_s / 0.1) * 0.1 / 0.4) % 2] or job.dispatch_ms > 5
    assert (jobs["decide_ms"].dropna() < 50).all()

    first = rates(links, "ap1")
    assert set(first) == {10e6, 5e6} and (first == 5e6).sum() > 3
    assert set(rates(links, "ap1", "down")) == {10e6}
    faded, down = rates(links, "ap2"), rates(links, "ap2", "down")
    assert 0.4 < faded.mean() / down.mean() < 0.95  # half of the same kind of rates, half of the time

    summary, jobs, _, slots = read(slow)
    (late,) = reasons(slow)
    assert late.startswith("40 of 40 slots were decided more than 5 ms after they began, or not at all")
    assert len(slots) <= 9 and (slots["late_ms"].dropna() > 100).all()
    assert set(jobs["decided_by"]) <= {"last", "greedy"} and (jobs["decided_by"] == "last").sum() > 3
    first = slots["late_ms"].iloc[0] / 1e3
    assert (jobs.loc[jobs["arrival_s"] < first - 0.02, "decided_by"] == "greedy").all()
    assert summary["slots"]["share_on_time"] == 0

    summary, jobs, _, slots = read(fails)
    assert summary["verdict"] == "INVALID"
    assert any("could not decide" in reason and "decided nothing for dev1" in reason for reason in summary["reasons"])
    assert slots["late_ms"].isna().sum() == slots["error"].notna().sum() > 20
    assert set(jobs.loc[jobs["arrival_s"] > 2, "decided_by"]) == {"greedy"}


def deciders(name: str) -> list[int]:
    """The processes of a testbed that decide slots."""
    found = []
    for group in Path("/sys/fs/cgroup").glob(f"**/testbed-{name}/cgroup.procs"):
        for pid in group.read_text().split():
            with contextlib.suppress(OSError):
                if b"DeciderActor" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
    return found


def test_a_run_goes_on_when_its_decider_is_killed(mine, machine, tmp_path: Path) -> None:
    name = "decider-kill-test"
    topology, workload = mine(name, policy=TURNS, duration="8 s")
    arguments = ["run", workload, "--topology", topology, "--output", "results"]
    process = subprocess.Popen(
        [sys.executable, "-m", "testbed", *map(str, arguments)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("results/*/slots.arrow")):  # the first slots were told; the test's limit ends a wait
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    (pid,) = deciders(name)
    os.kill(pid, signal.SIGKILL)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 1, errors
    (run,) = (tmp_path / "results").iterdir()
    summary, jobs, links, slots = read(run)
    assert any("the decider died" in reason for reason in summary["reasons"]) and "decider died" in output
    assert summary["issued"] == summary["on_time"] + summary["late"] + summary["failed"] + summary["dropped"]

    def first(by: str) -> float:
        return jobs.loc[jobs["decided_by"] == by, "arrival_s"].min()

    last = slots["begins_s"].max()
    assert {"slot", "greedy"} <= set(jobs["decided_by"])
    greedy = jobs[jobs["decided_by"] == "greedy"]
    assert (jobs.loc[jobs["arrival_s"] > first("greedy"), "decided_by"] == "greedy").all()
    assert last < first("greedy") < last + 2  # told twice a second, and followed a while
    final = jobs.loc[jobs["decided_by"] != "greedy", "arrival_s"].max()
    assert len(greedy) > 5 and first("greedy") > final
    after = rates(links, "ap1").loc[first("greedy") + 0.1 * LAST_FOR :]
    assert rates(links, "ap1").iloc[-1] == 10e6 and set(after) <= {10e6}


def test_a_policy_is_tried_out_by_the_command(command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    done = command("validate", "--policy", "mine:Turns", cwd=tmp_path, check=False)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines and all("cannot be reached now" in line or "does not have" in line for line in lines)

    done = command("validate", "--policy", "{name: greedy, encodings: [jpeg]}", cwd=tmp_path)
    assert "fifty devices, five edges" in done.stdout and done.stdout.endswith("greedy: ok\n")
    for policy, says in {
        "mine:Nobody": "mine has no class 'Nobody'",
        "{name: 'mine:Turns', shares: 1}": "cannot be made with",
        "grady": "there is no policy 'grady'",
    }.items():
        done = command("validate", "--policy", policy, cwd=tmp_path, check=False)
        assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1
    assert command("validate", check=False).returncode == 2


def test_a_policy_that_cannot_decide_the_topology_is_refused_before_anything_is_made(command, mine, machine) -> None:
    for policy, says in {
        "{name: 'mine:Turns', share: 2}": "policy 'mine:Turns' decided for dev1 an uplink share of 2",
        "{name: 'mine:Turns', takes_s: soon}": "cannot decide for this topology: it raised TypeError",
        "{name: grl, policy: nowhere.safetensors}": "nowhere.safetensors",
    }.items():
        topology, workload = mine("slots-refused", policy=policy)
        done = command("run", workload, "--topology", topology, cwd=workload.parent, check=False)
        assert done.returncode == 2, done.stderr
        (line,) = done.stderr.splitlines()
        assert says in line


EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"


@pytest.mark.parametrize("name", ["cautious:Cautious", "{name: 'shared:Shared', share: 0.5}", "grl"])
def test_the_examples_and_what_was_trained_are_right(command, name: str) -> None:
    assert "ok" in command("validate", EXAMPLES / "workload.yaml", "--policy", name, cwd=EXAMPLES).stdout
