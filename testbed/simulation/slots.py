"""Slots in simulated time: decided as the decider would, were it never late, and allotted when they begin."""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Callable, Generator

import simpy

from testbed.documents.resolved import ResolvedTopology
from testbed.jobs.decision import Decision
from testbed.jobs.profile import Profile
from testbed.jobs.slot import ON_TIME_MS, DecidedBy, SlotRow, decided_by
from testbed.network.allotment import Allotment, Direction
from testbed.offloading.slots import SlotPolicy
from testbed.runtime.decider import Outlook, SlotClock
from testbed.runtime.slot_board import SlotBoard
from testbed.simulation.network import Network


def slot_board(topology: ResolvedTopology) -> SlotBoard:
    """What is decided, in memory of this process alone."""
    memory = mmap.mmap(-1, SlotBoard.size(len(topology.devices)))
    return SlotBoard(memory, 0, sorted(topology.devices), sorted(topology.edges))


def decide_slots(
    env: simpy.Environment,
    clock: SlotClock,
    topology: ResolvedTopology,
    outlook: Outlook,
    policy: SlotPolicy,
    slots: SlotBoard,
    network: Network,
    account: Callable[[SlotRow], None],
) -> Generator[simpy.Event, None, None]:
    """Decide slot after slot; links are given their shares as each begins. Looking and deciding take no time here."""
    for slot in itertools.count():
        looks_s, begins_s = clock.looks_s(slot), clock.begins_s(slot)
        yield env.timeout(max(0.0, looks_s - env.now))
        late_ms, error = None, None
        try:
            slots.post(slot, outlook.postings(policy.decide_slot(outlook.observe(slot, begins_s))))
            late_ms = (looks_s - begins_s) * 1e3
        except Exception as fault:  # a user's policy may raise anything; the run goes on
            error = str(fault) or type(fault).__name__
        account(SlotRow(slot, begins_s, 0.0, 0.0, late_ms, error))
        yield env.timeout(max(0.0, begins_s - env.now))
        _allot(slot, slots, topology, network)


def _allot(slot: int, slots: SlotBoard, topology: ResolvedTopology, network: Network) -> None:
    newest = slots.newest()
    if newest is None or decided_by(newest[0], slot) is DecidedBy.GREEDY:
        network.allot({})
        return
    directions: dict[Direction, Allotment] = {}
    for one in newest[1].values():
        if one.given is not None:
            link = topology.links[one.given.link]
            directions[(link.a, link.b), int(one.given.direction == "down")] = Allotment(one.share, one.limit_bps)
    network.allot(directions)


class Assigned:
    """What was decided for one device's jobs, as they arrive."""

    def __init__(
        self, env: simpy.Environment, clock: SlotClock, slots: SlotBoard, device: str, profile: Profile
    ) -> None:
        self._env, self._clock, self._slots, self._device = env, clock, slots, device
        self._options = [row.option for row in profile.rows]

    def decision(self) -> Generator[simpy.Event, object, tuple[DecidedBy, Decision | None]]:
        """What is to be done with a job that arrives now, and by what it was decided; nothing if greedy is to."""
        slot = self._clock.slot_at(self._env.now)
        found = self._slots.posted(self._device, slot)
        until_s = self._clock.begins_s(slot) + ON_TIME_MS / 1e3
        if (found[0] if found else -1) == slot - 1 and self._env.now < until_s:
            yield self._env.timeout(until_s - self._env.now)
        by = decided_by(found[0] if found else None, slot)
        if found is None or by is DecidedBy.GREEDY:
            return by, None
        return by, Decision(self._options[found[1].option], found[1].edge)
