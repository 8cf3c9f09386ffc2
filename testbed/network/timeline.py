"""Everything that happens to the links in a run, in order: channels, events, and what they come to together. Pure: the
emulation and the simulation play the same.

A change is worked out when it is asked for and not before, so that a day of fading links needs no memory.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

import msgspec

from testbed.documents.resolved import (
    CutEvent,
    Event,
    LinkChange,
    LinkEvent,
    LinkParameters,
    ResolvedTopology,
    StartEvent,
    StopEvent,
)
from testbed.network.channel import draw
from testbed.network.links import PlannedChange

Pair = tuple[str, str]
Found = Mapping[Pair, tuple[LinkParameters, LinkParameters]]

_NOTHING = LinkChange()


class _Direction:
    """One direction of a link, as layers: each goes over those before it."""

    def __init__(self, link: Pair, direction: int, found: LinkParameters) -> None:
        self.link, self.direction = link, direction
        self.told = self.found = found
        self.channel = _NOTHING
        self.override = _NOTHING  # what events have set since they last restored it
        self.cuts = 0

    def parameters(self) -> LinkParameters:
        """What the layers come to."""
        whole = self.override.over(self.channel).applied_to(self.found)
        return msgspec.structs.replace(whole, loss=1.0, burst=None) if self.cuts else whole


_Action = Callable[[], Iterable[_Direction]]
"""Does what happens, and names the directions that it concerns."""
_Moment = tuple[int, int, _Action]
"""An instant in ns from the start; a number that no other of that instant has, by which they are sorted."""


class Timeline:
    """The links of a run from its start on."""

    def __init__(self, topology: ResolvedTopology, found: Found, events: Iterable[Event], seed: int) -> None:
        """A timeline of the topology's channels, drawn from the seed, and of the events.

        Args:
            topology: its links name the channels that vary them.
            found: both directions of each link as the run found them: what channels and events change.
            events: in any order; those of one instant happen in the order given.
            seed: the run's.
        """
        self._links = {
            pair: tuple(_Direction(pair, number, one) for number, one in enumerate(both))
            for pair, both in found.items()
        }
        self._stopped: set[str] = set()
        self._events = sorted(
            ((_ns(at_s), action) for event in events for at_s, action in self._actions(event)), key=lambda one: one[0]
        )
        self._channels: list[tuple[_Direction, Iterator[tuple[float, LinkChange]]]] = []
        for link in topology.links:
            up, down = self._links[link.a, link.b]
            for one, channel, sender, receiver in (
                (up, link.up_channel, link.a, link.b),
                (down, link.down_channel, link.b, link.a),
            ):
                if channel is not None:
                    self._channels.append((one, draw(topology.channels[channel], seed, sender, receiver)))

    def changes(self, start_ns: int = 0) -> Iterator[PlannedChange]:
        """What becomes of each direction, by time, whenever it becomes something else; `start_ns` is the run's start.

        To be gone through once. It ends when nothing more can happen: with a fading channel never.
        """
        events = [(at_ns, number, action) for number, (at_ns, action) in enumerate(self._events)]
        channels = (self._moments(len(events) + number, *one) for number, one in enumerate(self._channels))
        for at_ns, moments in itertools.groupby(heapq.merge(events, *channels), key=lambda moment: moment[0]):
            for one in dict.fromkeys(itertools.chain.from_iterable(action() for _, _, action in moments)):
                parameters = one.parameters()
                if parameters != one.told:
                    one.told = parameters
                    yield PlannedChange(start_ns + at_ns, one.link, one.direction, parameters)

    def _moments(self, number: int, one: _Direction, drawn: Iterator[tuple[float, LinkChange]]) -> Iterator[_Moment]:
        for at_s, change in drawn:
            yield _ns(at_s), number, partial(_vary, one, change)

    def _actions(self, event: Event) -> Iterator[tuple[float, _Action]]:
        """What an event does to the links, and when; a kill does nothing to them."""
        match event:
            case LinkEvent():
                yield event.at_s, partial(self._set, event)
            case CutEvent():
                yield event.at_s, partial(self._cut, event.links, 1)
                yield event.until_s, partial(self._cut, event.links, -1)
            case StopEvent():
                yield event.at_s, partial(self._stop, event.node)
            case StartEvent():
                yield event.at_s, partial(self._start, event.node)

    def _set(self, event: LinkEvent) -> list[_Direction]:
        touched = []
        for pair in event.links:
            for one, change in zip(self._links[pair], (event.up, event.down), strict=True):
                one.override = _NOTHING if event.restore else (change or _NOTHING).over(one.override)
                touched.append(one)
        return touched

    def _cut(self, links: Iterable[Pair], more: int) -> list[_Direction]:
        touched = [one for pair in links for one in self._links[pair]]
        for one in touched:
            one.cuts += more
        return touched

    def _stop(self, node: str) -> list[_Direction]:
        if node in self._stopped:
            return []
        self._stopped.add(node)
        return self._cut(self._links_of(node), 1)

    def _start(self, node: str) -> list[_Direction]:
        if node not in self._stopped:
            return []
        self._stopped.remove(node)
        return self._cut(self._links_of(node), -1)

    def _links_of(self, node: str) -> list[Pair]:
        return [pair for pair in self._links if node in pair]


def _vary(one: _Direction, change: LinkChange) -> tuple[_Direction]:
    one.channel = change
    return (one,)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
