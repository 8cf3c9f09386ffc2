"""A device's connection to one edge: requests out, replies back by job id, made anew when it breaks."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial

import simpy

from testbed.runtime.wire import Reply, Request, frame
from testbed.simulation.edge import Edge
from testbed.simulation.instants import after
from testbed.simulation.line import Line, Packet
from testbed.simulation.overheads import REPLY_S
from testbed.simulation.tcp import RESET_BYTES, Endpoint
from testbed.simulation.warm_up import FIRST_WINDOW

_PAUSE_S = 0.2
_ASKS_EVERY_S, _ASKS = 1.0, 5
_HANDSHAKE_BYTES = 60


class ConnectionLost(Exception):  # noqa: N818  what is said of a connection
    """The edge cannot be reached, or went away before it answered."""


class _Calls:
    """Does something when a packet arrives."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do

    def receive(self, packet: Packet) -> None:
        """It arrived."""
        self._do()


class Connection:
    """One connection, open when the run begins, with so many segments of window and a round trip as TCP has it."""

    def __init__(
        self,
        env: simpy.Environment,
        up: tuple[Line, ...],
        down: tuple[Line, ...],
        edge: Edge,
        window: float,
        round_trip_s: float,
    ) -> None:
        self._env, self._up, self._down, self._edge, self._round_trip_s = env, up, down, edge, round_trip_s
        self._pending: dict[int, simpy.Event] = {}
        self._wanted = True
        self._fault = ""
        self._opened = env.event()
        self._open(window)

    @property
    def connected(self) -> bool:
        """Whether a request could be sent now."""
        return not self._end.closed

    @property
    def unsent_bytes(self) -> int:
        """Bytes written and not acknowledged yet."""
        return 0 if self._end.closed else self._end.unsent_bytes

    def ready(self, give_up_s: float) -> Generator[simpy.Event, None, None]:
        """Return when a request can be sent, or at the instant `give_up_s`.

        Raises:
            ConnectionLost: it was down until then.
        """
        if self._end.closed:
            yield self._opened | self._env.timeout(max(0.0, give_up_s - self._env.now))
            if self._end.closed:
                raise ConnectionLost(self._fault)

    def send(self, request: Request, payload_bytes: int) -> int:
        """Write a job's frame; returns its bytes."""
        size = len(frame(request)) + payload_bytes
        self._end.send(request, size)
        return size

    def answer(self, job_id: int) -> Generator[simpy.Event, object, Reply]:
        """Wait for the answer to a job that was sent.

        Raises:
            ConnectionLost: the connection broke before.
        """
        waiting = self._pending[job_id] = self._env.event()
        try:
            reply = yield waiting
        finally:
            self._pending.pop(job_id, None)
        if not isinstance(reply, Reply):
            raise ConnectionLost(str(reply))
        return reply

    def close(self, why: str) -> None:
        """End the connection silently and for good; whoever waits for an answer is told why."""
        self._wanted = False
        self._end.close()
        self._broken(why)

    def connect(self) -> None:
        """Open it again."""
        self._wanted = True
        self._env.process(self._connecting())

    def _open(self, window: float) -> None:
        env, edge = self._env, self._edge
        near = Endpoint(env, self._up, self._heard, self._broken, window, self._round_trip_s)
        far = Endpoint(env, self._down, lambda request: edge.serve(far, request), _nobody, window, self._round_trip_s)
        near.peer, far.peer = far, near
        self._end = near
        edge.accept(far)

    def _heard(self, reply: object) -> None:
        after(self._env, REPLY_S, partial(self._read, reply))

    def _read(self, reply: object) -> None:
        assert isinstance(reply, Reply)
        waiting = self._pending.get(reply.job_id)
        if waiting is not None and not waiting.triggered:
            waiting.succeed(reply)

    def _broken(self, why: str) -> None:
        self._fault = why
        for waiting in self._pending.values():
            if not waiting.triggered:
                waiting.succeed(why)
        if self._wanted:
            self._env.process(self._connecting())

    def _connecting(self) -> Generator[simpy.Event, object, None]:
        yield self._env.timeout(_PAUSE_S)
        while self._wanted and self._end.closed:
            answered = self._env.event()
            for _ in range(_ASKS):
                Packet(_HANDSHAKE_BYTES, self._up, _Calls(partial(self._asked, answered))).send()
                yield answered | self._env.timeout(_ASKS_EVERY_S)
                if answered.triggered:
                    break
            if not answered.triggered:
                self._fault = f"no connection within {_ASKS * _ASKS_EVERY_S:g} s"
            elif not answered.value:
                self._fault = f"{self._edge.name} refuses connections"
                return  # killed: it does not come back
            elif self._wanted and self._end.closed:
                self._open(FIRST_WINDOW)
                self._opened, opened = self._env.event(), self._opened
                opened.succeed()
                return
            yield self._env.timeout(_PAUSE_S)

    def _asked(self, answered: simpy.Event) -> None:
        """The edge's kernel answers, if it is there at all."""
        accepts, refuses = self._edge.listening, self._edge.refuses
        if accepts or refuses:
            heard = partial(_tell, answered, accepts)
            Packet(_HANDSHAKE_BYTES if accepts else RESET_BYTES, self._down, _Calls(heard)).send()


def _tell(answered: simpy.Event, accepted: bool) -> None:
    if not answered.triggered:
        answered.succeed(accepted)


def _nobody(why: str) -> None:
    """Edges do not care why a connection ended."""
