"""Policies that decide slots: made by name, shown what they may know, and their decisions checked."""

from __future__ import annotations

import msgspec
import pytest

from testbed.jobs.decision import LOCAL, Decision, Kind, Option
from testbed.jobs.observation import EdgeView, PathView
from testbed.offloading.errors import NotPossible
from testbed.offloading.estimate import perturbed_slot
from testbed.offloading.policy import PolicyError, make_policy
from testbed.offloading.slot_policy import check_slot_profile, decides_slots, make_slot_policy
from testbed.offloading.slots import Assignment, DeviceView, SlotObservation

USERS = """
from testbed.jobs.decision import LOCAL, Decision, Kind, Option
from testbed.offloading.slots import Assignment

class Slots:
    seen = []

    def __init__(self, seed, share=1.0):
        self.share = share

    def decide_slot(self, observation):
        self.seen.append(observation)
        jpeg = Option(Kind.FULL, "jpeg")
        return {device: Assignment(Decision(jpeg, "edge1"), self.share) for device in observation.devices}

class Says:
    def __init__(self, seed, what):
        self.what = what

    def decide_slot(self, observation):
        return eval(self.what)

class Neither:
    pass
"""


@pytest.fixture(autouse=True)
def users_module(tmp_path, monkeypatch):
    (tmp_path / "users_slots.py").write_text(USERS)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture
def observation(profile) -> SlotObservation:
    path = PathView(10e6, 0.005, 0.0)
    edges = {name: EdgeView(path, path, 0.1, 2e11) for name in ("edge1", "edge2")}
    return SlotObservation(0.3, 0.1, {f"dev{n}": DeviceView(0.2, 0.05, 5e9, edges) for n in range(3)}, profile)


def test_a_class_with_decide_slot_decides_slots() -> None:
    assert decides_slots("users_slots:Slots")
    assert not decides_slots("greedy") and not decides_slots("testbed.offloading.greedy:Greedy")
    with pytest.raises(PolicyError, match=r"no method decide\(observation\), nor decide_slot\(observation\)"):
        decides_slots("users_slots:Neither")
    with pytest.raises(PolicyError, match="no method decide"):
        make_policy("users_slots:Neither", {}, seed=1)
    with pytest.raises(PolicyError, match="cannot be made with"):
        make_slot_policy("users_slots:Slots", {"shares": 1}, seed=1)
    with pytest.raises(PolicyError, match="does not decide slots"):
        make_slot_policy("greedy", {}, seed=1)


def test_it_decides_with_its_options_on_what_it_is_to_consider(observation) -> None:
    policy = make_slot_policy("users_slots:Slots", {"share": 0.5, "encodings": ["jpeg"]}, seed=1)
    assert policy.decide_slot(observation) == {
        device: Assignment(Decision(Option(Kind.FULL, "jpeg"), "edge1"), 0.5) for device in observation.devices
    }
    seen = policy.policy.seen[-1]
    assert [row.option.encoding for row in seen.profile.rows] == ["", "jpeg"]
    assert seen.devices == observation.devices
    check_slot_profile(policy, observation.profile)
    with pytest.raises(PolicyError, match="the checkpoint's profile has no jpg; it has aecnn, jpeg, raw"):
        check_slot_profile(make_slot_policy("users_slots:Slots", {"encodings": ["jpg"]}, 1), observation.profile)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("'local'", "decided 'local', which is not a dict of Assignments"),
        ("{}", "decided nothing for dev0, dev1, dev2"),
        ("{**dict.fromkeys(observation.devices, Assignment(Decision(LOCAL))), 'dev9': 1}", "for dev9, which the slot"),
        ("dict.fromkeys(observation.devices, Decision(LOCAL))", "for dev0 .*not a testbed Assignment"),
        ("dict.fromkeys(observation.devices, Assignment(Decision(LOCAL, 'edge1')))", "for dev0 local with an edge"),
        ("dict.fromkeys(observation.devices, Assignment(Decision(Option(Kind.FULL, 'png'), 'edge1')))", "'full png'"),
        (
            "dict.fromkeys(observation.devices, Assignment(Decision(Option(Kind.FULL, 'jpeg'), 'e9')))",
            "cannot be reach",
        ),
        ("dict.fromkeys(observation.devices, Assignment(Decision(LOCAL), 0.0))", "share of 0.0, which is not above 0"),
        ("dict.fromkeys(observation.devices, Assignment(Decision(LOCAL), float('nan')))", "share of nan"),
    ],
)
def test_what_it_decides_is_checked(observation, what: str, says: str) -> None:
    with pytest.raises(NotPossible, match=says):
        make_slot_policy("users_slots:Says", {"what": what}, seed=1).decide_slot(observation)


def test_estimates_are_wrong_alike_for_the_same_seed_and_slot(observation) -> None:
    policy = make_slot_policy("users_slots:Slots", {}, seed=1, estimate_error=0.3)
    policy.decide_slot(observation)
    seen = policy.policy.seen[-1]
    assert seen == perturbed_slot(observation, 0.3, 1) != perturbed_slot(observation, 0.3, 2)
    later = msgspec.structs.replace(observation, now_s=0.4)
    assert perturbed_slot(later, 0.3, 1).devices != seen.devices
    rates = {view.up.bandwidth_bps for device in seen.devices.values() for view in device.edges.values()}
    assert len(rates) == 6
    for edge in ("edge1", "edge2"):
        assert len({device.edges[edge].backlog_s for device in seen.devices.values()}) == 1
    one = msgspec.structs.replace(observation, devices={"dev0": observation.devices["dev0"]})
    assert set(perturbed_slot(one, 0.3, 1).devices["dev0"].edges) == {"edge1", "edge2"}


def test_estimates_are_right_on_average(observation) -> None:
    slots = [msgspec.structs.replace(observation, now_s=0.1 * slot) for slot in range(400)]
    seen = [perturbed_slot(slot, 0.2, 1).devices["dev1"] for slot in slots]
    assert sum(device.edges["edge1"].up.bandwidth_bps for device in seen) / 400 == pytest.approx(10e6, rel=0.04)
    assert sum(device.backlog_s for device in seen) / 400 == pytest.approx(0.05, rel=0.04)


def test_local_is_always_considered(observation) -> None:
    policy = make_slot_policy("users_slots:Slots", {"encodings": ["jpeg"]}, seed=1)
    policy.decide_slot(observation)
    assert policy.policy.seen[-1].profile.rows[0].option == LOCAL
