"""One edge: computes its part of each job that comes in, in turn, and answers."""

from __future__ import annotations

from collections.abc import Generator
from typing import cast

import simpy

from testbed.runtime.edge import MAX_QUEUED_JOBS, as_received_at
from testbed.runtime.wire import Reply, Request, frame
from testbed.simulation.executor import Executor
from testbed.simulation.overheads import REQUEST_S, TURN_S
from testbed.simulation.pace import Pace, Photographs
from testbed.simulation.tcp import Endpoint


class Edge:
    """Serves connections. A job is executed once, however often it is sent: all attempts get the one answer."""

    def __init__(self, env: simpy.Environment, name: str, pace: Pace, photographs: Photographs) -> None:
        self._env, self.name, self.pace, self._photographs = env, name, pace, photographs
        self.executor = Executor(env)
        self.listening, self.refuses = True, False
        self._ends: list[Endpoint] = []
        self._jobs: dict[int, simpy.Event] = {}  # each with its reply, when there is one
        self._serving: set[simpy.Process] = set()
        self._queued = 0

    def accept(self, end: Endpoint) -> None:
        """A device has connected."""
        self._ends.append(end)

    def serve(self, end: Endpoint, request: object) -> None:
        """Take a request that has come over a connection, by the edge's end of it."""
        assert isinstance(request, Request)
        serving = self._env.process(self._serve(request, end))
        self._serving.add(serving)
        serving.callbacks.append(self._serving.discard)

    def stop(self) -> None:
        """Switch off: connections end silently, all work is lost."""
        self.listening = False
        self._forget(None)

    def start(self) -> None:
        """Switch on again."""
        self.listening = not self.refuses

    def kill(self) -> None:
        """Its process dies, and its connections are closed."""
        self.listening, self.refuses = False, True
        self._forget("the edge closed the connection")

    def _forget(self, why: str | None) -> None:
        for serving in [serving for serving in self._serving if serving.is_alive]:
            serving.interrupt()
        self._jobs.clear()
        self._queued = 0
        for end in self._ends:
            end.close(why)
        self._ends.clear()

    def _serve(self, request: Request, end: Endpoint) -> Generator[simpy.Event, object, None]:
        try:
            received_s = self._env.now + REQUEST_S
            yield self._env.timeout(REQUEST_S + TURN_S)
            done = self._jobs.get(request.job_id)
            if done is None:
                done = self._jobs[request.job_id] = self._env.event()
                reply = yield from self._execute(request, received_s)
                done.succeed(reply)
            else:
                if not done.processed:
                    yield done
                reply = cast(Reply, done.value)
                if reply.received_s < received_s:
                    reply = as_received_at(reply, received_s)
        except simpy.Interrupt:
            return
        if not end.closed:
            end.send(reply, len(frame(reply)))

    def _execute(self, request: Request, received_s: float) -> Generator[simpy.Event, object, Reply]:
        if self._queued == MAX_QUEUED_JOBS:
            refusal = f"{MAX_QUEUED_JOBS} jobs are queued already"
            return Reply(request.job_id, None, refusal, received_s, received_s, received_s, received_s)
        self._queued += 1
        expected, real = self.pace.expected(request.option), self.pace.real(request.option)
        began_s = yield from self.executor.hold(expected.decode_s + expected.tail_s, real.decode_s + real.tail_s)
        self._queued -= 1
        predicted = self._photographs[request.image, request.option].predicted
        return Reply(request.job_id, predicted, None, received_s, began_s, began_s + real.decode_s, self._env.now)
