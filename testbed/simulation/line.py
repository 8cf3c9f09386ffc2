"""One direction of a link: every packet takes size over bandwidth, may be lost, is delayed, and never overtakes.

A packet's way over a link is worked out when it comes to it, and again where the link changes before it has been
served: one event for each packet and link, instead of one for each of its steps.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import simpy

from testbed.documents.resolved import LinkParameters
from testbed.network.shape import queue_bytes
from testbed.simulation.overheads import LINK_S

if TYPE_CHECKING:
    from testbed.simulation.air import Air


class Arrival(Protocol):
    """Where packets arrive."""

    def receive(self, packet: Packet) -> None:
        """Takes a packet that has come over all its lines."""
        ...


class Packet:
    """What one node sends to another, over lines that follow each other. Sizes are bytes of the IP layer."""

    __slots__ = ("hop", "lines", "size", "to")

    def __init__(self, size: int, lines: tuple[Line, ...], to: Arrival) -> None:
        self.size, self.lines, self.to, self.hop = size, lines, to, 0

    def send(self) -> None:
        """Sets out."""
        self.lines[0].send(self)


class Passage:
    """A packet's way over one line, as it is known so far."""

    __slots__ = ("bad_before", "chance", "departs_s", "due_before_s", "event", "packet", "wobble")

    def __init__(self, packet: Packet, departs_s: float) -> None:
        self.packet, self.departs_s = packet, departs_s
        self.event: simpy.Event | None = None
        self.chance: float | None = None
        self.wobble: float | None = None
        self.bad_before, self.due_before_s = False, 0.0  # the line's, before this packet


class Line:
    """One direction of a link, with a queue (tail drop), a server, losses and a flight; what it draws is a function of
    the name given."""

    __slots__ = (
        "_air",
        "_backlog",
        "_bad",
        "_bps",
        "_draw",
        "_env",
        "_free_s",
        "_is",
        "_last_due_s",
        "_limit",
        "_name",
        "_queue",
        "credit",
        "dropped",
        "lost",
        "waiting",
    )

    def __init__(self, env: simpy.Environment, is_: LinkParameters, name: str, air: Air | None = None) -> None:
        self._env, self._name, self._air = env, name, air
        self._is, self._bps, self._limit = is_, is_.bandwidth_bps, queue_bytes(is_)
        self._queue: deque[Passage] = deque()  # waiting or being served
        self._backlog = 0  # bytes in the queue and waiting for the air
        self._free_s = 0.0  # when all that waits has been served
        self._last_due_s = 0.0
        self._bad = False  # the state of the Gilbert-Elliott chain
        self._draw: random.Random | None = None
        self.waiting: deque[Passage] = deque()  # for the air
        self.credit = 0  # bytes that it may still send in its turn in the air
        self.lost = self.dropped = 0  # packets

    def send(self, packet: Packet) -> None:
        """Takes a packet; one that finds the queue full is dropped."""
        now_s, size = self._env.now, packet.size
        if self._queue:
            self._settle(now_s)
        if self._backlog + size > self._limit:
            self.dropped += 1
            return
        self._backlog += size
        begins_s = self._free_s if self._free_s > now_s else now_s
        self._free_s = departs_s = begins_s + 8 * size / self._bps
        passage = Passage(packet, departs_s)
        self._queue.append(passage)
        if self._air is None:
            self._fly(passage)
        else:
            self._at(passage, departs_s, self._enter_air)

    def change(self, to: LinkParameters) -> None:
        """Changes the line in place: what is left of the packet being served and all that wait go by its new values."""
        now_s, old_bps = self._env.now, self._bps
        self._is, self._bps, self._limit = to, to.bandwidth_bps, queue_bytes(to)
        self._settle(now_s)
        waiting = [passage for passage in self._queue if passage.departs_s > now_s]
        if not waiting:
            return
        if self._air is None:
            self._bad, self._last_due_s = waiting[0].bad_before, waiting[0].due_before_s
        free_s = now_s + (waiting[0].departs_s - now_s) * old_bps / self._bps
        for passage in waiting:
            if passage is not waiting[0]:
                free_s += 8 * passage.packet.size / self._bps
            passage.departs_s = free_s
            if self._air is None:
                self._fly(passage)
            else:
                self._at(passage, free_s, self._enter_air)
        self._free_s = free_s

    def depart(self, passage: Passage) -> None:
        """A packet leaves the air, now."""
        self._backlog -= passage.packet.size
        passage.departs_s = self._env.now
        self._fly(passage)

    def _settle(self, now_s: float) -> None:
        """Forgets what has been served; with an air, entering it does so."""
        if self._air is None:
            queue = self._queue
            while queue and queue[0].departs_s <= now_s:
                self._backlog -= queue.popleft().packet.size

    def _enter_air(self, event: simpy.Event) -> None:
        passage: Passage = event.value  # type: ignore[assignment]  # by `_at`
        if passage.event is event and self._air is not None:
            self._queue.popleft()
            self._air.enter(self, passage)

    def _fly(self, passage: Passage) -> None:
        passage.bad_before, passage.due_before_s = self._bad, self._last_due_s
        passage.event = None
        is_ = self._is
        if is_.loss > 0:
            if self._is_lost(passage):
                self.lost += 1
                return
        else:
            self._bad = False
        due_s = passage.departs_s + is_.delay_s + LINK_S
        if is_.jitter_s > 0:
            if passage.wobble is None:
                passage.wobble = 2 * self._uniform() - 1
            due_s += passage.wobble * is_.jitter_s
            if due_s < passage.departs_s:
                due_s = passage.departs_s
        if due_s < self._last_due_s:
            due_s = self._last_due_s
        self._last_due_s = due_s
        self._at(passage, due_s, self._arrive)

    def _at(self, passage: Passage, instant_s: float, do: Callable[[simpy.Event], None]) -> None:
        left_s = instant_s - self._env.now
        passage.event = event = simpy.Timeout(self._env, left_s if left_s > 0 else 0.0, passage)
        event.callbacks.append(do)

    @staticmethod
    def _arrive(event: simpy.Event) -> None:
        passage: Passage = event.value  # type: ignore[assignment]  # by `_at`
        if passage.event is not event:  # planned anew since
            return
        packet = passage.packet
        packet.hop += 1
        if packet.hop < len(packet.lines):
            packet.lines[packet.hop].send(packet)
        else:
            packet.to.receive(packet)

    def _is_lost(self, passage: Passage) -> bool:
        """Whether a packet that has used the link is lost; with bursts by Gilbert's chain (1960)."""
        loss, burst = self._is.loss, self._is.burst
        if loss >= 1:
            return True
        if passage.chance is None:
            passage.chance = self._uniform()
        if not burst:
            return passage.chance < loss
        self._bad = passage.chance < (1 - 1 / burst if self._bad else loss / (burst * (1 - loss)))
        return self._bad

    def _uniform(self) -> float:
        if self._draw is None:
            self._draw = random.Random(self._name)
        return self._draw.random()
