"""Deciding by slots: when a slot is looked at and decided, what is seen of the network, and what devices make of it.

Slot k begins at start + k * length on the run's clock, whatever became of those before. It is decided a little ahead,
so that its decision is there when its jobs arrive: what the decider sees is older by that, and no job waits for it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from testbed.documents.resolved import LinkParameters, ResolvedTopology
from testbed.jobs.decision import Decision
from testbed.jobs.job import Job
from testbed.jobs.observation import Air, EdgeView
from testbed.jobs.profile import Profile
from testbed.jobs.slot import ON_TIME_MS, DecidedBy, SlotRow, decided_by
from testbed.offloading.slots import Assignment, DeviceView, SlotObservation, SlotPolicy
from testbed.runtime import paths
from testbed.runtime.alarm import Alarm
from testbed.runtime.paths import Hop
from testbed.runtime.slot_board import Posting, SlotBoard

AHEAD_S, AHEAD_PER_WAY_S = 0.015, 40e-6
"""So long before a slot begins it is decided, and longer the more there is to look at; no more than half a slot."""
FIRST_AHEAD_S = 0.25
"""So long before the run the first is: policies load what they need when they are first asked."""

_ASK_AGAIN_S = 0.0005


class SlotClock(NamedTuple):
    """When slots begin."""

    start_s: float  # of the run, monotonic clock
    slot_s: float
    ahead_s: float = AHEAD_S  # so long before a slot begins it is to be decided

    def begins_s(self, slot: int) -> float:
        """When a slot begins (monotonic clock)."""
        return self.start_s + slot * self.slot_s

    def slot_at(self, instant_s: float) -> int:
        """The slot of an instant of the monotonic clock."""
        return math.floor((instant_s - self.start_s) / self.slot_s)

    def looks_s(self, slot: int) -> float:
        """When a slot is to be decided (monotonic clock)."""
        return self.begins_s(slot) - (min(self.ahead_s, self.slot_s / 2) if slot else FIRST_AHEAD_S)


def ahead_s(topology: ResolvedTopology) -> float:
    """How long before its beginning a slot of these devices and edges is to be decided."""
    return AHEAD_S + AHEAD_PER_WAY_S * len(topology.devices) * len(topology.edges)


def jobs_per_s(jobs: Sequence[Job], devices: int, slot_s: float, chained_s: float | None) -> float:
    """How many of these jobs arrive at each device at any time of slots, on average. None do where jobs arrive at
    slots' beginnings, or each after its device's last has ended (`RunSpec.chained_s`)."""
    last_s = max((job.arrival_s for job in jobs), default=0.0)
    at_beginnings = all(math.isclose(job.arrival_s, round(job.arrival_s / slot_s) * slot_s) for job in jobs)
    return 0.0 if at_beginnings or chained_s is not None else len(jobs) / devices / last_s


def decide_slots(
    clock: SlotClock,
    observe: Callable[[int, float], SlotObservation],
    policy: SlotPolicy,
    post: Callable[[int, dict[str, Assignment]], None],
    account: Callable[[SlotRow], None],
    stopping: threading.Event,
) -> None:
    """Decide slot after slot until told to stop. Slots that began while one was decided are left out; one that the
    policy cannot decide is accounted for with the reason."""
    slot = 0
    while not stopping.wait(max(0.0, clock.looks_s(slot) - time.monotonic())):
        account(_decide(slot, clock, observe, policy, post))
        slot = max(slot, clock.slot_at(time.monotonic())) + 1


def _decide(
    slot: int,
    clock: SlotClock,
    observe: Callable[[int, float], SlotObservation],
    policy: SlotPolicy,
    post: Callable[[int, dict[str, Assignment]], None],
) -> SlotRow:
    late_ms, error = None, None
    looked_s = seen_s = time.monotonic()
    try:
        observation = observe(slot, clock.begins_s(slot))
        seen_s = time.monotonic()
        assignments = policy.decide_slot(observation)
        decided_s = time.monotonic()
        post(slot, assignments)
        late_ms = (time.monotonic() - clock.begins_s(slot)) * 1e3
    except Exception as fault:  # a user's policy may raise anything; the run goes on
        decided_s = time.monotonic()
        error = str(fault) or type(fault).__name__
    return SlotRow(slot, slot * clock.slot_s, (seen_s - looked_s) * 1e3, (decided_s - seen_s) * 1e3, late_ms, error)


class _Way(NamedTuple):
    up: tuple[int, ...]  # by their places among the hops of all ways
    down: tuple[int, ...]
    flops_per_s: float  # the edge's
    air: Air | None


class Told(Protocol):
    """What a board tells; each is as on `Board`."""

    def link(self, hop: Hop) -> LinkParameters:
        """One direction of a link as set."""
        ...

    def air_bps(self, hop: Hop) -> float:
        """The total rate that the link shares."""
        ...

    def busy_until(self, node: str) -> float:
        """When a node has finished its work."""
        ...

    def unsent(self, device: str, edge: str) -> int | None:
        """Bytes not acknowledged; None: not connected."""
        ...


class Outlook:
    """What the board tells of all devices and edges, as policies see it."""

    def __init__(
        self,
        topology: ResolvedTopology,
        board: Told,
        profile: Profile,
        slot_s: float,
        deadline_s: float,
        jobs_per_s: float = 0.0,
    ) -> None:
        """`jobs_per_s` is how many arrive at a device, on average."""
        self._board, self._profile, self._slot_s = board, profile, slot_s
        self._deadline_s, self._jobs_per_s = deadline_s, jobs_per_s
        self._places = {row.option: place for place, row in enumerate(profile.rows)}
        self._paces = {
            name: node.compute.flops_per_s or profile.reference_flops_per_s
            for name, node in (topology.devices | topology.edges).items()
        }
        numbers: dict[Hop, int] = {}
        self._ways: dict[str, dict[str, _Way]] = {device: {} for device in topology.devices}
        for device, ways in self._ways.items():
            for edge in topology.edges:
                if way := paths.path(topology, device, edge):
                    for hop in (*way, *paths.reverse(way)):
                        numbers.setdefault(hop, len(numbers))
                    up, down = (tuple(numbers[hop] for hop in hops) for hops in (way, paths.reverse(way)))
                    ways[edge] = _Way(up, down, self._paces[edge], self._air(topology, way[0]))
        self._hops = list(numbers)

    def _air(self, topology: ResolvedTopology, first: Hop) -> Air | None:
        """What the first hop of a way shares."""
        total_bps, link = self._board.air_bps(first), topology.links[first.link]
        access_point = link.b if first.direction == "up" else link.a
        return Air(access_point, total_bps) if math.isfinite(total_bps) else None

    def observe(self, slot: int, begins_s: float) -> SlotObservation:
        """All as it is now; backlogs as they will be when the slot begins (monotonic clock)."""
        links = [self._board.link(hop) for hop in self._hops]
        busy_s = {name: max(0.0, self._board.busy_until(name) - begins_s) for name in self._paces}
        devices = {}
        for device, ways in self._ways.items():
            edges = {}
            for edge, way in ways.items():
                unsent = self._board.unsent(device, edge)
                if unsent is not None:
                    up, down = (paths.view([links[number] for number in one]) for one in (way.up, way.down))
                    edges[edge] = EdgeView(up, down, busy_s[edge], way.flops_per_s, unsent, way.air)
            devices[device] = DeviceView(self._deadline_s, busy_s[device], self._paces[device], edges, self._jobs_per_s)
        return SlotObservation(slot * self._slot_s, self._slot_s, devices, self._profile)

    def postings(self, assignments: Mapping[str, Assignment]) -> dict[str, Posting]:
        """Assignments as the board holds them."""
        found = {}
        for device, ways in self._ways.items():
            decision, share = assignments[device].decision, assignments[device].uplink_share
            given, limit_bps = None, math.inf
            if decision.edge is not None and share < 1:
                given, *rest = (self._hops[number] for number in ways[decision.edge].up)
                limit_bps = min(self._board.air_bps(given), *(self._board.link(hop).bandwidth_bps for hop in rest))
            found[device] = Posting(self._places[decision.option], decision.edge, given, share, limit_bps)
        return found


class Assigned:
    """What was decided for one device's jobs, as they arrive."""

    def __init__(self, slots: SlotBoard, device: str, profile: Profile, slot_s: float, alarm: Alarm) -> None:
        self._slots, self._device, self._slot_s, self._alarm = slots, device, slot_s, alarm
        self._options = [row.option for row in profile.rows]

    async def decision(self, start_s: float) -> tuple[DecidedBy, Decision | None]:
        """What is to be done with a job that arrives now, and by what it was decided; nothing if greedy is to.

        Where the decider was on time in the slot before, it is waited for a little into this one.
        """
        clock = SlotClock(start_s, self._slot_s)
        slot = clock.slot_at(time.monotonic())
        found = self._slots.posted(self._device, slot)
        while (found[0] if found else -1) == slot - 1 and time.monotonic() < clock.begins_s(slot) + ON_TIME_MS / 1e3:
            await self._alarm.until(time.monotonic() + _ASK_AGAIN_S)
            found = self._slots.posted(self._device, slot)
        by = decided_by(found[0] if found else None, slot)
        if found is None or by is DecidedBy.GREEDY:
            return by, None
        return by, Decision(self._options[found[1].option], found[1].edge)
