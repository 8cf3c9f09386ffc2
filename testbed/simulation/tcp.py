"""TCP over simulated lines: what it costs to get messages across in order, with losses repaired as Linux repairs them.

Of Linux's TCP it has: segments of 1,448 bytes; acknowledgements (delayed by 40 ms, piggybacked, or at once for more
than a segment and for what comes out of order) that are packets as any other; selective acknowledgements; RACK with its
reordering window (RFC 8985), tail loss probes, the retransmission timer (RFC 6298, at least 200 ms) with its backing
off, and the user timeout. The window is opened by a warm-up, is multiplied by 0.7 with a loss (cubic's factor), is 1
after a timeout, and grows by slow start, then by a segment a round trip: cubic's own growth is not modelled, nor are
proportional rate reduction, pacing, the undoing of needless reductions, and the receiver's window.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import simpy

from testbed.offloading.prediction import HEADER_BYTES, SEGMENT_BYTES
from testbed.runtime.sockets import USER_TIMEOUT_MS
from testbed.simulation.line import Line, Packet
from testbed.simulation.round_trip import LEAST_TIMEOUT_S, RoundTrip

DELAYED_S = 0.04
RESET_BYTES = 40
_JIFFIES_S = 0.008  # two of 4 ms: what a tail loss probe waits beyond two round trips
_REDUCED = 0.7
_DUPLICATES = 3
_SELECTIVE_BYTES = 12

_NONE: frozenset[int] = frozenset()

Deliver = Callable[[object], None]


class _Segment:
    """A part of a message; `message` is set in the last one of it."""

    __slots__ = ("again", "bytes", "lost", "message", "number", "sacked", "sent_s")

    def __init__(self, number: int, size: int, message: object) -> None:
        self.number, self.bytes, self.message = number, size, message
        self.sent_s = 0.0
        self.again = self.sacked = self.lost = False


class _Sent(Packet):
    """A segment on its way, or an acknowledgement alone (`segment` None). `ends` says that the connection is over."""

    __slots__ = ("ack", "beyond", "ends", "segment")

    def __init__(self, size: int, lines: tuple[Line, ...], to: Endpoint) -> None:
        self.size, self.lines, self.to, self.hop = size, lines, to, 0  # as `Packet` does; it is called for each
        self.segment: _Segment | None = None
        self.ack = -1
        self.beyond = _NONE
        self.ends: str | None = None


class Endpoint:
    """One end of a connection: sends messages to its peer, and delivers what the peer sends."""

    def __init__(
        self,
        env: simpy.Environment,
        lines: tuple[Line, ...],
        deliver: Deliver,
        ended: Callable[[str], None],
        window: float,
        round_trip_s: float,
    ) -> None:
        """One end, as a warm-up leaves it.

        Args:
            env: the simulation.
            lines: the way to the peer.
            deliver: takes the peer's messages, in order.
            ended: told why, when the peer or TCP ends the connection.
            window: segments that may be under way.
            round_trip_s: what TCP has measured.
        """
        self._env, self._lines, self._deliver, self._ended = env, lines, deliver, ended
        self.peer: Endpoint
        self.closed = False
        self.unsent_bytes = 0  # written and not acknowledged
        # What is sent.
        self._next = 0
        self._fresh: deque[_Segment] = deque()  # not sent yet
        self._open: deque[_Segment] = deque()  # sent and not acknowledged
        self._flying = 0
        self._window, self._threshold = window, math.inf
        self._recovering_until = -1  # the number up to which an episode of losses lasts
        self._sacked = 0
        self._round_trip = RoundTrip(round_trip_s)
        self._newest: tuple[float, int] = (-math.inf, -1)  # of all delivered, what was sent last: when, its number
        self._newest_rtt_s = 0.0
        self._backing_off = 1
        self._probed = False
        self._progress_s = 0.0  # when something was last acknowledged, or began to wait for it
        self._due_s = math.inf
        self._due: Callable[[], None] = self._time_out
        self._timer: simpy.Event | None = None
        self._timer_s = math.inf
        # What is received.
        self._expected = 0
        self._early: dict[int, _Segment] = {}
        self._unacknowledged = 0  # bytes
        self._owed: simpy.Event | None = None  # an acknowledgement

    def send(self, message: object, size: int) -> None:
        """Writes a message of so many bytes."""
        if not self._open:
            self._progress_s = self._env.now
        self.unsent_bytes += size
        while size > 0:
            part = size if size < SEGMENT_BYTES else SEGMENT_BYTES
            size -= part
            self._fresh.append(_Segment(self._next, part, None if size else message))
            self._next += 1
        self._push()
        self._arm()

    def close(self, why: str | None = None) -> None:
        """Ends the connection: silently, or telling the peer why."""
        if why is not None and not self.closed:
            self._end_peer(why)
        self.closed = True
        self._timer = self._owed = None

    # Receiving.

    def receive(self, packet: Packet) -> None:
        """Takes what the peer sent."""
        assert isinstance(packet, _Sent)
        if self.closed:
            if packet.ends is None:
                self._end_peer("Connection reset by peer")
            return
        if packet.ends is not None:
            self.close()
            self._ended(packet.ends)
            return
        if packet.ack >= 0:
            self._acknowledged(packet.ack, packet.beyond)
        if packet.segment is not None:
            self._take(packet.segment)

    def _take(self, segment: _Segment) -> None:
        at_once = True
        if segment.number == self._expected:
            at_once = bool(self._early)
            self._unacknowledged += segment.bytes
            taken: _Segment | None = segment
            while taken is not None:
                self._expected += 1
                if taken.message is not None:
                    self._deliver(taken.message)
                taken = self._early.pop(self._expected, None)
        elif segment.number > self._expected:
            self._early[segment.number] = segment
        if self.closed:
            return
        if at_once or self._unacknowledged > SEGMENT_BYTES:
            self._acknowledge()
        elif self._owed is None:
            self._owed = simpy.Timeout(self._env, DELAYED_S)
            self._owed.callbacks.append(self._owing_ends)

    def _owing_ends(self, event: simpy.Event) -> None:
        if self._owed is event and not self.closed:
            self._acknowledge()

    def _acknowledge(self) -> None:
        size = HEADER_BYTES + (_SELECTIVE_BYTES if self._early else 0)
        self._dispatch(_Sent(size, self._lines, self.peer))

    def _dispatch(self, packet: _Sent) -> None:
        """Sends a packet, and with it what is to be acknowledged."""
        packet.ack, packet.beyond = self._expected, frozenset(self._early) if self._early else _NONE
        self._unacknowledged, self._owed = 0, None
        self._lines[0].send(packet)

    def _end_peer(self, why: str) -> None:
        packet = _Sent(RESET_BYTES, self._lines, self.peer)
        packet.ends = why
        packet.send()

    # Sending.

    def _push(self) -> None:
        """Sends what the window lets out: what was lost before what is fresh."""
        for segment in self._open if self._flying + self._sacked < len(self._open) else ():
            if segment.lost and self._flying < self._window:
                segment.lost, segment.again = False, True
                self._flying += 1
                self._put(segment)
        while self._fresh and self._flying < self._window:
            segment = self._fresh.popleft()
            self._open.append(segment)
            self._flying += 1
            self._probed = False
            self._put(segment)

    def _put(self, segment: _Segment) -> None:
        segment.sent_s = self._env.now
        packet = _Sent(segment.bytes + HEADER_BYTES, self._lines, self.peer)
        packet.segment = segment
        self._dispatch(packet)

    def _acknowledged(self, ack: int, beyond: frozenset[int]) -> None:
        open_, now_s = self._open, self._env.now
        full = self._flying >= int(self._window)
        delivered = 0
        while open_ and open_[0].number < ack:
            segment = open_.popleft()
            self.unsent_bytes -= segment.bytes
            if segment.sacked:
                self._sacked -= 1
            else:
                self._delivered(segment, now_s)
                delivered += 1
        if beyond:
            for segment in open_:
                if not segment.sacked and segment.number in beyond:
                    segment.sacked = True
                    self._sacked += 1
                    self._delivered(segment, now_s)
                    delivered += 1
        if not delivered:
            return
        self._progress_s, self._backing_off, self._probed = now_s, 1, False
        if self._recovering_until >= 0 and ack > self._recovering_until:
            self._recovering_until = -1
        if full and self._recovering_until < 0:
            self._window += delivered if self._window < self._threshold else delivered / self._window
        self._find_lost()
        self._push()
        self._arm()

    def _delivered(self, segment: _Segment, now_s: float) -> None:
        if not segment.lost:
            self._flying -= 1
        segment.lost = False
        rtt_s = now_s - segment.sent_s
        if segment.again and rtt_s < self._round_trip.least_s:  # it was the one before that came
            return
        if not segment.again:
            self._round_trip.measured(rtt_s)
        if (segment.sent_s, segment.number) > self._newest:
            self._newest, self._newest_rtt_s = (segment.sent_s, segment.number), rtt_s

    def _find_lost(self) -> float:
        """Marks what was sent before something that has come, and is overdue. Seconds until more may be (RACK)."""
        if self._flying == 0:
            return math.inf
        now_s, soonest_s = self._env.now, math.inf
        certain = self._recovering_until >= 0 or self._sacked >= _DUPLICATES
        slack_s = 0.0 if certain else self._round_trip.slack_s
        for segment in self._open:
            if segment.sacked or segment.lost or (segment.sent_s, segment.number) >= self._newest:
                continue
            left_s = segment.sent_s + self._newest_rtt_s + slack_s - now_s
            if left_s <= 1e-9:
                self._lose(segment)
            else:
                soonest_s = min(soonest_s, left_s)
        return soonest_s

    def _lose(self, segment: _Segment) -> None:
        segment.lost = True
        self._flying -= 1
        if self._recovering_until < 0:
            self._recovering_until = self._open[-1].number
            self._threshold = self._window = max(2.0, self._window * _REDUCED)

    # The one timer.

    def _arm(self) -> None:
        now_s = self._env.now
        if not self._open:
            self._due_s = math.inf
            return
        soonest_s = self._find_lost() if self._newest[1] >= 0 else math.inf
        timeout_s = self._round_trip.timeout_s(self._backing_off)
        if soonest_s < math.inf:
            self._due_s, self._due = now_s + soonest_s, self._reorder
        elif not self._probed and self._recovering_until < 0 and self._backing_off == 1:
            beyond_s = LEAST_TIMEOUT_S if len(self._open) == 1 else _JIFFIES_S
            probe_s = 2 * self._round_trip.smooth_s + beyond_s
            self._due_s, self._due = now_s + min(timeout_s, probe_s), self._probe
        else:
            self._due_s, self._due = now_s + timeout_s, self._time_out
        if self._due_s < self._timer_s or self._timer is None:
            self._wait()

    def _wait(self) -> None:
        self._timer_s = self._due_s
        self._timer = simpy.Timeout(self._env, max(0.0, self._due_s - self._env.now))
        self._timer.callbacks.append(self._ring)

    def _ring(self, event: simpy.Event) -> None:
        if self._timer is not event:
            return
        self._timer, self._timer_s = None, math.inf
        if self._due_s == math.inf:
            return
        if self._due_s > self._env.now:  # it was put off since
            self._wait()
            return
        self._due()

    def _reorder(self) -> None:
        self._find_lost()
        self._push()
        self._arm()

    def _probe(self) -> None:
        """Sends the last segment again, so that what is lost before it is found by its acknowledgement."""
        self._probed = True
        segment = self._open[-1]
        segment.again = True
        if segment.lost or segment.sacked:
            self._time_out()
            return
        self._put(segment)
        self._arm()

    def _time_out(self) -> None:
        now_s = self._env.now
        if now_s - self._progress_s >= USER_TIMEOUT_MS / 1e3:
            self.close()
            self._ended("Connection timed out")
            return
        if self._recovering_until < 0:
            self._threshold = max(2.0, self._window * _REDUCED)
        self._recovering_until = self._open[-1].number
        self._window = 1.0
        for segment in self._open:
            if not segment.sacked:
                segment.lost = True
        self._flying = 0
        self._backing_off *= 2
        self._push()
        self._arm()
