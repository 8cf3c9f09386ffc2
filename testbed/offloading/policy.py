"""Policies that decide job by job: what one is, and how one is made from its name and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from testbed.jobs.decision import Decision, Kind
from testbed.jobs.observation import Observation
from testbed.jobs.profile import Profile
from testbed.offloading.errors import NoEdge, NotPossible, OutOfReach, PolicyError
from testbed.offloading.estimate import perturbed
from testbed.offloading.greedy import Greedy
from testbed.offloading.making import check_encodings, constructed, imported, without_encodings
from testbed.offloading.plain import Bound, Fixed, Full, Local, Random

__all__ = ["BUILT_IN", "NoEdge", "Policy", "PolicyError", "check_profile", "make_policy"]

BUILT_IN: dict[str, Callable[..., Policy]] = {
    "local": Local,
    "full": Full,
    "fixed": Fixed,
    "random": Random,
    "greedy": Greedy,
}
"""The policies that come with the testbed, by the names that workload files use."""

_SEEDED = {"random"}


class Policy(Protocol):
    """Decides jobs, one at a time, as they arrive."""

    def decide(self, observation: Observation) -> Decision:
        """The decision for `observation.job`.

        Raises:
            NoEdge: the policy wants an edge and can reach none; the job is dropped with that reason.
        """
        ...


def make_policy(name: str, options: Mapping[str, object], seed: int, *, estimate_error: float = 0.0) -> Policy:
    """The policy of that name: a built-in one, or a user's class as `package.module:Class`.

    The option `encodings` of any policy that weighs options says which it considers beside local: a list, such as
    [raw, jpeg, bottlenet++]; by default all that are not in the profile for comparison. A user's class is constructed
    with `seed=` and the other options; what it decides is checked against the profile and the
    edges in reach, job by job. `estimate_error` lets the policy see perturbed bandwidths and backlogs (`estimate`).

    Raises:
        PolicyError: there is no such policy, it cannot be imported or constructed, or it has no method `decide`.
    """
    encodings, options = without_encodings(name, options)
    if name in BUILT_IN:
        keywords = {**options, "seed": seed} if name in _SEEDED else options
        policy = constructed(name, BUILT_IN[name], keywords)
    elif ":" in name:
        policy = _Checked(name, constructed(name, imported(name), {**options, "seed": seed}))
    else:
        raise PolicyError(f"policy '{name}': not one of {', '.join(BUILT_IN)}, nor a package.module:Class")
    if not isinstance(policy, Bound):
        policy = _Considering(policy, encodings)
    return _Estimating(policy, estimate_error, seed) if estimate_error else policy


def check_profile(policy: Policy, profile: Profile) -> None:
    """Refuses a policy bound to an option, or told of an encoding, that the profile lacks, before any job is issued.

    Raises:
        PolicyError: naming the options that the profile has.
    """
    within = policy.policy if isinstance(policy, _Estimating) else policy
    if isinstance(within, Bound) and within.option not in profile.by_option:
        allowed = ", ".join(f"'{row.option}'" for row in profile.rows if row.option.kind is within.option.kind)
        raise PolicyError(f"'{within.option}': the checkpoint's profile has no such option; it has {allowed or 'none'}")
    if isinstance(within, _Considering):
        check_encodings(within.encodings, profile)


class _Checked:
    """A user's policy, each of whose decisions is checked to be possible."""

    def __init__(self, name: str, policy: Policy) -> None:
        self.name = name
        self.policy = policy

    def decide(self, observation: Observation) -> Decision:
        decision: object = self.policy.decide(observation)
        if not isinstance(decision, Decision):
            raise NotPossible(f"policy '{self.name}' decided {decision!r}, which is not a testbed Decision")
        if decision.option not in observation.profile.by_option:
            raise NotPossible(f"policy '{self.name}' decided '{decision.option}', which the profile does not have")
        if decision.option.kind is Kind.LOCAL:
            if decision.edge is not None:
                raise NotPossible(f"policy '{self.name}' decided local with an edge, {decision.edge!r}")
        elif decision.edge not in observation.edges:
            raise OutOfReach(f"policy '{self.name}' decided {decision.edge!r}, which cannot be reached now")
        return decision


class _Considering:
    """A policy that sees of the profile what it is to consider."""

    def __init__(self, policy: Policy, encodings: tuple[str, ...] | None) -> None:
        self.policy = policy
        self.encodings = encodings
        self._whole: Profile | None = None

    def decide(self, observation: Observation) -> Decision:
        if observation.profile is not self._whole:
            self._whole, self._considered = observation.profile, observation.profile.considered(self.encodings)
        return self.policy.decide(msgspec.structs.replace(observation, profile=self._considered))


class _Estimating:
    """A policy that decides on perturbed observations."""

    def __init__(self, policy: Policy, estimate_error: float, seed: int) -> None:
        self.policy = policy
        self.estimate_error = estimate_error
        self.seed = seed

    def decide(self, observation: Observation) -> Decision:
        return self.policy.decide(perturbed(observation, self.estimate_error, self.seed))
