"""Policies tried out: what is wrong with them is found before a run, and what is right is not complained of."""

from __future__ import annotations

import pytest

from testbed.offloading.checking import cases, try_policy
from testbed.offloading.errors import PolicyError

USERS = """
import random
from testbed.jobs.decision import LOCAL, Decision, Kind, Option
from testbed.offloading.errors import PolicyError
from testbed.offloading.policy import make_policy
from testbed.offloading.prediction import reachable
from testbed.offloading.slots import Assignment

JPEG = Option(Kind.FULL, "jpeg")

class First:
    def __init__(self, seed, edge=None):
        self.edge = edge

    def decide(self, observation):
        return next(one for one in reachable(observation) if one.edge == self.edge)

class Far:
    def __init__(self, seed): pass

    def decide(self, observation):
        return Decision(observation.profile.rows[-1].option, "edge1")

class Careful:
    def __init__(self, seed): self.greedy = make_policy("greedy", {}, seed)

    def decide(self, observation): return self.greedy.decide(observation)

class Slots:
    def __init__(self, seed, share=1.0): self.share = share

    def decide_slot(self, observation):
        options = observation.profile.by_option
        if LOCAL not in options:
            raise PolicyError("needs computing locally")
        return {name: self.one(name, view) for name, view in observation.devices.items()}

    def one(self, name, view):
        return Assignment(Decision(LOCAL), self.share)

class Gambles(Slots):
    def one(self, name, view):
        edges = list(view.edges)
        return Assignment(Decision(JPEG, random.choice(edges)) if len(edges) > 1 else Decision(LOCAL))

class Empties(Slots):
    def one(self, name, view):
        view.edges.clear()
        return super().one(name, view)

class Refuses(Slots):
    def decide_slot(self, observation): raise PolicyError("not today")
"""


@pytest.fixture(autouse=True)
def users_module(tmp_path, monkeypatch):
    (tmp_path / "users_tried.py").write_text(USERS)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("name", ["local", "full", "random", "greedy", "users_tried:Careful", "users_tried:Slots"])
def test_good_policies_pass_and_their_decisions_are_told(profile, name: str) -> None:
    tried, faults = try_policy(name, {}, profile)
    assert faults == []
    assert [one.case for one in tried] == [case.name for case in cases(profile)]
    for one in tried:
        assert one.refused or sum(one.decisions.values()) == one.devices


def test_refusals_are_told_and_are_no_fault_but_where_there_is_nothing_else(profile) -> None:
    tried, faults = try_policy("users_tried:Slots", {}, profile)
    refused = {one.case: one.refused for one in tried if one.refused}
    assert refused == dict.fromkeys(
        ("not computing locally", "neither local nor an edge in reach"), "needs computing locally"
    )
    assert faults == []
    assert try_policy("users_tried:Refuses", {}, profile)[1] == ["it refuses every case: not today"]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("First", {}, "not computing locally (and 1 more case): raised StopIteration"),
        ("First", {"edge": "edge1"}, "some edges out of reach (and 3 more cases): raised StopIteration"),
        ("Far", {}, "some edges out of reach (and 2 more cases): decided 'edge1', which cannot be reached now"),
        ("Slots", {"share": 1.5}, "one device, one edge (and 10 more cases): decided for dev1 an uplink share of 1.5"),
        ("Gambles", {}, "more cases): another of the same seed decided otherwise; draw from the seed alone"),
        ("Empties", {}, "more cases): changed the observation, which others see too; make a copy"),
    ],
)
def test_what_is_wrong_is_said_once_with_the_case(profile, name: str, options: dict, says: str) -> None:
    _, faults = try_policy(f"users_tried:{name}", options, profile)
    assert any(says in fault for fault in faults), faults
    assert len({fault.partition(": ")[2] for fault in faults}) == len(faults)


def test_what_cannot_be_made_is_refused(profile) -> None:
    with pytest.raises(PolicyError, match="cannot be made with"):
        try_policy("users_tried:Slots", {"edge": 1}, profile)
    with pytest.raises(PolicyError, match="profile has no such option"):
        try_policy("fixed", {"split": "layer1", "kept_channels": 1, "bits": 1}, profile)


def test_fixed_is_refused_only_where_its_option_is_not(profile) -> None:
    tried, faults = try_policy("fixed", {"split": "layer3", "kept_channels": 16, "bits": 4}, profile)
    assert faults == []
    assert [one.case for one in tried if one.refused] == ["nothing but local"]
