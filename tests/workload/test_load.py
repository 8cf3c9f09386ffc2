"""The search for the load that is sustained, over runs that are made up: nothing is late up to a knee."""

from __future__ import annotations

import io
import json
import math
from pathlib import PurePath
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.documents.workload import Workload
from testbed.jobs.intervals import wilson_interval
from testbed.reporting.tables import show_load
from testbed.reporting.verdict import BUSY
from testbed.workload.load import PRECISION, find_load, find_loads


class Runs:
    """Runs of 1,000 jobs, all on time up to a knee; those whose number is named are INVALID."""

    def __init__(self, tmp_path, knee_per_s: float, invalid=()):
        self.folder, self.knee_per_s, self.invalid, self.rates = tmp_path, knee_per_s, invalid, []

    def __call__(self, rate_per_s: float):
        self.rates.append(rate_per_s)
        number = len(self.rates)
        on_time = 1000 if rate_per_s <= self.knee_per_s else 700
        summary = SimpleNamespace(
            issued=1000,
            success_probability=on_time / 1000,
            success_interval=wilson_interval(on_time, 1000),
            verdict="INVALID" if number in self.invalid else "VALID",
            reasons=(BUSY,) if number in self.invalid else (),
        )
        return SimpleNamespace(summary=summary, path=self.folder / f"run-{number}")


def found(runs, first_per_s=2.0, highest_per_s=10_000.0, success=0.95):
    return find_load(
        runs,
        "greedy",
        8,
        first_per_s=first_per_s,
        highest_per_s=highest_per_s,
        success=success,
        tell=lambda told: None,
    )


@given(knee=st.floats(0.1, 500), first=st.floats(0.5, 100))
def test_the_knee_is_found_as_exactly_as_said(knee, first):
    load = found(Runs(PurePath(), knee), first_per_s=first)
    assert load.rate_per_s is not None and load.not_held_per_s is not None
    assert load.rate_per_s <= knee < load.not_held_per_s
    assert load.not_held_per_s / load.rate_per_s <= 1 + PRECISION + 0.01  # rates have three digits
    assert len(load.trials) <= 2 + abs(math.log2(knee / first)) + 5


def test_what_is_tried_is_told_in_order_and_stored(tmp_path):
    runs = Runs(tmp_path, 5.0)
    load = found(runs)
    assert [trial.rate_per_s for trial in load.trials] == runs.rates == [2, 4, 8, 5.66, 4.76, 5.19, 4.97]
    assert [trial.held for trial in load.trials] == [True, True, False, False, True, False, True]
    assert (load.rate_per_s, load.not_held_per_s, load.total_per_s) == (4.97, 5.19, 8 * 4.97)


def test_each_policy_is_searched_alone_from_the_workloads_own_rate(tmp_path):
    document = {"name": "w", "duration": "1 s", "deadline": "1 s", "arrivals": {"process": "poisson", "rate": "2 /s"}}
    workload = Workload.model_validate({**document, "offloading": {"policy": ["local", "greedy"]}})
    runs, tried = Runs(tmp_path, 5.0), []

    def run_all(alone):
        tried.append([policy.name for policy in alone.policies])
        return [runs(alone.rate_per_s)]

    loads = find_loads(workload, 8, run_all, success=0.95, output=tmp_path, tell=lambda told: None)
    assert [load.policy for load in loads] == ["local", "greedy"]
    assert tried == [["local"]] * 7 + [["greedy"]] * 7 and runs.rates[0] == runs.rates[7] == 2
    stored = json.loads((tmp_path / "run-8-load.json").read_bytes())
    assert stored["rate_per_s"] == 4.97 and len(stored["trials"]) == 7 and stored["trials"][2]["run"] == "run-10"


def test_a_load_that_is_never_or_always_held(tmp_path):
    never = found(Runs(tmp_path, 1e-9))
    assert never.rate_per_s is None and never.not_held_per_s == pytest.approx(2 / 2**10, rel=0.01)
    rare = found(Runs(tmp_path, 1e-9), first_per_s=0.005)
    assert [trial.rate_per_s for trial in rare.trials] == [0.005, 0.0025, 0.00125]  # none is below 0.001 /s
    always = found(Runs(tmp_path, 1e9), highest_per_s=10.0)
    assert (always.rate_per_s, always.not_held_per_s) == (10.0, None)
    assert [trial.rate_per_s for trial in always.trials] == [2, 4, 8, 10]
    slots = found(Runs(tmp_path, 1e9), first_per_s=20 / 3, highest_per_s=20 / 3)
    assert slots.rate_per_s == 20 / 3


def test_what_disturbed_a_run_is_given_a_second_chance(tmp_path):
    once = found(Runs(tmp_path, 5.0, invalid={2}))
    assert [trial.verdict for trial in once.trials[:3]] == ["VALID", "INVALID", "VALID"]
    assert once.rate_per_s == 4.97
    twice = found(Runs(tmp_path, 5.0, invalid={2, 3}))
    assert twice.rate_per_s < 4 <= twice.not_held_per_s


def test_every_rate_is_shown_and_the_highest_that_holds(tmp_path):
    out = io.StringIO()
    show_load(found(Runs(tmp_path, 5.0, invalid={2})), out)
    text = out.getvalue()
    assert "INVALID" in text and "70.0 % (67.1-72.8)" in text
    assert "4.97 /s a device, 39.76 /s in all, hold a success probability of 95 %; not held at 5.19 /s" in text
    out = io.StringIO()
    show_load(found(Runs(tmp_path, 1e-9)), out)
    assert "no rate that was tried holds a success probability of 95 %" in out.getvalue()
