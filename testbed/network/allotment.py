"""What is allotted of links at run time, composed with what is planned of them. Pure.

A link's rate is share times rate: the rate is what topology, channel and events make of it, changing at any time; the
share is what was allotted last. A plan is handed over ahead of time, so that an allotment plans anew what was handed
over for later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from testbed.documents.resolved import LinkParameters
from testbed.network.links import PlannedChange

Direction = tuple[tuple[str, str], int]
"""A link by its nodes, and 0 for up or 1 for down."""


class Allotment(NamedTuple):
    """What one direction of a link is given: a share of its rate, or of the limit where that is less."""

    share: float = 1.0
    limit_bps: float = math.inf

    def of(self, whole: LinkParameters) -> LinkParameters:
        """The parameters with what is given of their rate."""
        if self == WHOLE:
            return whole
        return msgspec.structs.replace(whole, bandwidth_bps=self.share * min(self.limit_bps, whole.bandwidth_bps))


WHOLE = Allotment()


class Allotted(NamedTuple):
    """All that is allotted from an instant of the monotonic clock on; what is not named has its whole rate."""

    at_ns: int
    directions: Mapping[Direction, Allotment]


class AllottedPlan:
    """Planned changes that wait to be applied, with what is allotted of them."""

    def __init__(self, found: Mapping[tuple[str, str], tuple[LinkParameters, LinkParameters]]) -> None:
        """`found` is what the links are now, with nothing allotted of them."""
        self._whole = {(link, number): one for link, both in found.items() for number, one in enumerate(both)}
        self._now: Mapping[Direction, Allotment] = {}
        self._waiting: list[PlannedChange] = []

    @property
    def waiting(self) -> int:
        """How many changes wait."""
        return len(self._waiting)

    def add(self, changes: list[PlannedChange]) -> list[PlannedChange]:
        """Plan changes that come after those that wait; the same with what is allotted."""
        planned = [self._given(change, self._now) for change in changes]
        self._waiting += planned
        return planned

    def applied(self, changes: list[PlannedChange]) -> None:
        """Some that waited do so no longer."""
        for change in changes:
            self._waiting.remove(change)
            self._whole[change.link, change.direction] = change.whole or change.parameters

    def allot(self, allotted: Allotted) -> list[PlannedChange]:
        """Allot anew, from an instant on up to which all changes have been added: what waits from now on, in the order
        of the instants, in place of what waited before."""
        before = [change for change in self._waiting if change.at_ns < allotted.at_ns]
        after = [change for change in self._waiting if change.at_ns >= allotted.at_ns]
        whole = self._whole | {(one.link, one.direction): one.whole or one.parameters for one in before}
        changed = [
            direction
            for direction in (*self._now, *(allotted.directions.keys() - self._now.keys()))
            if allotted.directions.get(direction, WHOLE) != self._now.get(direction, WHOLE)
        ]
        self._now = allotted.directions
        steps = [PlannedChange(allotted.at_ns, *direction, whole[direction]) for direction in sorted(changed)]
        self._waiting = before + [self._given(change, self._now) for change in (*steps, *after)]
        return list(self._waiting)

    @staticmethod
    def _given(change: PlannedChange, allotted: Mapping[Direction, Allotment]) -> PlannedChange:
        allotment = allotted.get((change.link, change.direction), WHOLE)
        whole = change.whole or change.parameters
        return PlannedChange(
            change.at_ns, change.link, change.direction, allotment.of(whole), None if allotment == WHOLE else whole
        )
