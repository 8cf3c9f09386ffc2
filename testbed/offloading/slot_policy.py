"""Policies that decide once a slot: how one is made from its name and options, and what it decides is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from testbed.jobs.decision import Kind
from testbed.jobs.profile import Profile
from testbed.offloading.errors import NotPossible, PolicyError
from testbed.offloading.estimate import perturbed_slot
from testbed.offloading.making import check_encodings, constructed, imported, without_encodings
from testbed.offloading.slots import Assignment, DeviceView, SlotObservation, SlotPolicy
from testbed.offloading.trained import Trained

BY_SLOT: dict[str, Callable[..., SlotPolicy]] = {"grl": partial(Trained, "grl"), "droo": partial(Trained, "droo")}
"""The policies that come with the testbed and decide once a slot, by the names that workload files use."""


def decides_slots(name: str) -> bool:
    """Whether the policy of that name decides once a slot for all devices; a user's class does if it has `decide_slot`.

    Raises:
        PolicyError: it is a class that cannot be imported, or no policy.
    """
    return name in BY_SLOT or (":" in name and hasattr(imported(name), "decide_slot"))


def make_slot_policy(
    name: str, options: Mapping[str, object], seed: int, *, estimate_error: float = 0.0
) -> CheckedSlots:
    """The policy of that name, a built-in one or a user's class as `package.module:Class`.

    Options, seed and `estimate_error` are as for policies that decide job by job (`make_policy`).

    Raises:
        PolicyError: there is no such policy, or it cannot be imported or constructed.
    """
    encodings, options = without_encodings(name, options)
    if name in BY_SLOT:
        policy = constructed(name, BY_SLOT[name], options)
    elif decides_slots(name):
        policy = constructed(name, imported(name), {**options, "seed": seed})
    else:
        raise PolicyError(f"policy '{name}': does not decide slots")
    return CheckedSlots(name, policy, encodings, estimate_error, seed)


def check_slot_profile(policy: CheckedSlots, profile: Profile) -> None:
    """Refuses a policy that is told of an encoding that the profile lacks, before any job is issued.

    Raises:
        PolicyError: naming what the profile has.
    """
    check_encodings(policy.encodings, profile)


class CheckedSlots:
    """A policy that sees what it is to consider, as well as it can be known, and decides what can be done."""

    def __init__(
        self, name: str, policy: SlotPolicy, encodings: tuple[str, ...] | None, estimate_error: float, seed: int
    ) -> None:
        self.name, self.policy, self.encodings = name, policy, encodings
        self.estimate_error, self.seed = estimate_error, seed
        self._whole: Profile | None = None

    def decide_slot(self, observation: SlotObservation) -> dict[str, Assignment]:
        """The policy's assignments.

        Raises:
            PolicyError: the policy cannot decide.
            NotPossible: it decided what cannot be done.
        """
        if observation.profile is not self._whole:
            self._whole, self._considered = observation.profile, observation.profile.considered(self.encodings)
        seen = msgspec.structs.replace(observation, profile=self._considered)
        if self.estimate_error:
            seen = perturbed_slot(seen, self.estimate_error, self.seed)
        decided: object = self.policy.decide_slot(seen)
        if not isinstance(decided, dict):
            raise NotPossible(f"policy '{self.name}' decided {_shown(decided)}, which is not a dict of Assignments")
        if absent := sorted(observation.devices.keys() - decided.keys()):
            raise NotPossible(f"policy '{self.name}' decided nothing for {_few(absent)}")
        if unknown := sorted(map(str, decided.keys() - observation.devices.keys())):
            raise NotPossible(f"policy '{self.name}' decided for {_few(unknown)}, which the slot does not have")
        for device, view in observation.devices.items():
            if fault := _fault(decided[device], view, observation.profile):
                raise NotPossible(f"policy '{self.name}' decided for {device} {fault}")
        return decided


def _fault(assignment: object, view: DeviceView, profile: Profile) -> str | None:
    """What is wrong with a device's assignment."""
    if not isinstance(assignment, Assignment):
        return f"{_shown(assignment)}, which is not a testbed Assignment"
    decision, share = assignment.decision, assignment.uplink_share
    if decision.option not in profile.by_option:
        return f"'{decision.option}', which the profile does not have"
    if decision.option.kind is Kind.LOCAL:
        if decision.edge is not None:
            return f"local with an edge, {decision.edge!r}"
    elif decision.edge not in view.edges:
        return f"{decision.edge!r}, which cannot be reached now"
    if not (isinstance(share, float | int) and 0 < share <= 1):
        return f"an uplink share of {_shown(share)}, which is not above 0 to 1"
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
