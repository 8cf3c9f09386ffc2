"""A policy tried out: decided with, over observations such as runs meet, and what is wrong with what it decides."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from testbed.jobs.decision import LOCAL, Decision
from testbed.jobs.job import Job
from testbed.jobs.observation import Air, EdgeView, Observation, PathView
from testbed.jobs.profile import Profile
from testbed.offloading.errors import NoEdge, NotPossible, OutOfReach, PolicyError
from testbed.offloading.policy import check_profile, make_policy
from testbed.offloading.slot_policy import check_slot_profile, decides_slots, make_slot_policy
from testbed.offloading.slots import DeviceView, SlotObservation

SEED = 1
_DROPPED = "dropped"
_DEADLINE_S, _SLOT_S = 0.2, 0.1


class Case(NamedTuple):
    """What a run may come to."""

    name: str
    observation: SlotObservation


class Tried(msgspec.Struct, frozen=True):
    """What a policy decided in one case."""

    case: str
    devices: int
    edges: int
    decisions: dict[str, int]  # devices by kind/encoding
    refused: str | None  # why it would decide nothing
    seconds: float  # for all devices


def try_policy(name: str, options: Mapping[str, object], profile: Profile) -> tuple[list[Tried], list[str]]:
    """Decide every case with the policy, twice from the same seed.

    A policy may refuse what it cannot decide by raising PolicyError or NoEdge, but not every case.

    Returns:
        What it did, and what is wrong with it, each in one line: a decision that cannot be taken, an exception, an
        observation that it changed, other decisions the second time.

    Raises:
        PolicyError: it cannot be made, or wants what the profile lacks.
    """
    make = _by_slot if decides_slots(name) else _by_job
    first, again = (make(name, options, profile) for _ in range(2))
    tried: list[Tried] = []
    faults: dict[str, list[str]] = {}
    for case in cases(profile):
        before = msgspec.msgpack.encode(case.observation)
        started_s = time.perf_counter()
        try:
            decisions = first(case.observation)
            tried.append(_tried(case, decisions, time.perf_counter() - started_s))
            if again(case.observation) != decisions:
                fault = "another of the same seed decided otherwise; draw from the seed alone"
                faults.setdefault(fault, []).append(case.name)
        except (NotPossible, OutOfReach) as error:
            faults.setdefault(str(error).removeprefix(f"policy '{name}' "), []).append(case.name)
        except (NoEdge, PolicyError) as error:
            tried.append(_tried(case, (), time.perf_counter() - started_s, str(error)))
        except Exception as error:  # a user's class may raise anything
            faults.setdefault(f"raised {type(error).__name__}: {error}", []).append(case.name)
        if msgspec.msgpack.encode(case.observation) != before:
            fault = "changed the observation, which others see too; make a copy"
            faults.setdefault(fault, []).append(case.name)
    told = [f"{names[0]}{_more(len(names) - 1)}: {fault}" for fault, names in faults.items()]
    if tried and not told and all(one.refused for one in tried):
        told.append(f"it refuses every case: {tried[0].refused}")
    return tried, told


def cases(profile: Profile) -> list[Case]:
    """One device and many, idle and overloaded, with edges out of reach and without computing locally."""
    elsewhere = tuple(row for row in profile.rows if row.option != LOCAL)
    alone = msgspec.structs.replace(profile, rows=tuple(row for row in profile.rows if row.option == LOCAL))
    no_local = msgspec.structs.replace(profile, rows=elsewhere)
    found = [
        Case("one device, one edge", _observed(profile, 1, 1)),
        Case("ten devices, two edges", _observed(profile, 10, 2)),
        Case("fifty devices, five edges", _observed(profile, 50, 5)),
        Case("some edges out of reach", _observed(profile, 6, 3, reach=lambda device, edge: (device + edge) % 3 != 0)),
        Case("no edge in reach", _observed(profile, 4, 2, reach=lambda device, edge: False)),
        Case("overloaded devices and edges", _observed(profile, 6, 2, backlog_s=20.0)),
        Case("links that pass next to nothing", _observed(profile, 6, 2, bandwidth_bps=1e3, loss=0.5)),
        Case("links that pass nothing", _observed(profile, 6, 2, loss=1.0)),
        Case("a deadline of 1 ms", _observed(profile, 6, 2, deadline_s=0.001)),
        Case("both edges behind one access point", _observed(profile, 6, 2, air=Air("ap1", 2e7), jobs_per_s=5.0)),
    ]
    if alone.rows:
        found.append(Case("nothing but local", _observed(alone, 6, 2)))
    if elsewhere:
        found.append(Case("not computing locally", _observed(no_local, 6, 2)))
        nowhere = _observed(no_local, 2, 2, reach=lambda device, edge: False)
        found.append(Case("neither local nor an edge in reach", nowhere))
    return found


def _observed(
    profile: Profile,
    devices: int,
    edges: int,
    *,
    bandwidth_bps: float = 8e6,
    loss: float = 0.005,
    backlog_s: float = 0.0,
    deadline_s: float = _DEADLINE_S,
    jobs_per_s: float = 0.0,
    air: Air | None = None,
    reach: Callable[[int, int], bool] = lambda device, edge: True,
) -> SlotObservation:
    """A slot of devices and edges that differ a little from each other."""
    views = {}
    for device in range(devices):
        seen = {}
        for edge in range(edges):
            if reach(device, edge):
                path = PathView(bandwidth_bps * (1 + (3 * device + edge) % 7) / 4, 0.002 + 0.001 * edge, loss)
                seen[f"edge{edge + 1}"] = EdgeView(
                    path, path, backlog_s + 0.01 * edge, 2e11 / (1 + edge), 500 * device, air
                )
        views[f"dev{device + 1}"] = DeviceView(deadline_s, backlog_s + 0.002 * device, 5e9, seen, jobs_per_s)
    return SlotObservation(1.0, _SLOT_S, views, profile)


_Decide = Callable[[SlotObservation], Sequence[Decision | None]]
"""What is decided for each device of a slot; None: its job would be dropped, as no edge can be reached."""


def _by_slot(name: str, options: Mapping[str, object], profile: Profile) -> _Decide:
    policy = make_slot_policy(name, options, SEED)
    check_slot_profile(policy, profile)

    def decide(observation: SlotObservation) -> list[Decision | None]:
        assignments = policy.decide_slot(observation)
        return [assignments[device].decision for device in observation.devices]

    return decide


def _by_job(name: str, options: Mapping[str, object], profile: Profile) -> _Decide:
    policy = make_policy(name, options, SEED)
    check_profile(policy, profile)

    def decide(observation: SlotObservation) -> list[Decision | None]:
        decided: list[Decision | None] = []
        for number, (device, view) in enumerate(observation.devices.items()):
            job = Job(number, device, 0, observation.now_s, view.deadline_s)
            edges, now_s = view.edges, observation.now_s
            try:
                decided.append(
                    policy.decide(Observation(job, now_s, view.backlog_s, view.flops_per_s, edges, observation.profile))
                )
            except OutOfReach:
                raise
            except NoEdge:
                decided.append(None)
        return decided

    return decide


def _tried(case: Case, decisions: Sequence[Decision | None], seconds: float, refused: str | None = None) -> Tried:
    counts = collections.Counter(_kind(decision) for decision in decisions)
    views = case.observation.devices.values()
    edges = {edge for view in views for edge in view.edges}
    return Tried(case.name, len(views), len(edges), dict(sorted(counts.items())), refused, seconds)


def _kind(decision: Decision | None) -> str:
    if decision is None:
        return _DROPPED
    return "/".join(filter(None, (decision.option.kind.value, decision.option.encoding)))


def _more(cases: int) -> str:
    return f" (and {cases} more case{'s' if cases > 1 else ''})" if cases else ""
