"""One edge: takes jobs off its connections, computes its part of each in turn, and answers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial

from testbed.runtime import sockets
from testbed.runtime.board import Board
from testbed.runtime.compute import NodeCompute
from testbed.runtime.executor import Executor
from testbed.runtime.tally import Tally
from testbed.runtime.wire import Reply, Request, WarmUp, WireError, frame, read_frame

MAX_QUEUED_JOBS = 1024
"""Jobs an edge holds at once; one more is refused with an error, as memory is not endless."""


class Edge:
    """Serves connections. A job is executed once, however often it is sent: all attempts get the one answer."""

    def __init__(self, name: str, compute: NodeCompute, board: Board) -> None:
        self._compute = compute
        self._executor = Executor(lambda instant_s: board.set_busy_until(name, instant_s))
        self._jobs: dict[int, asyncio.Task[Reply]] = {}
        self._queued = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tally: Tally) -> None:
        """Read frames until the connection ends or is not to be trusted; answer each job when it is done.

        What is sent is added to the tally. Cancelled, it ends the connection as if the edge were switched off.
        """
        handle = sockets.Handle(writer.get_extra_info("socket"))
        silently = False
        try:
            while True:
                message, payload = await read_frame(reader)
                received_s = time.monotonic()
                if isinstance(message, Request):
                    job = self._jobs.get(message.job_id)
                    if job is None:
                        job = self._jobs[message.job_id] = asyncio.create_task(self._job(message, payload, received_s))
                    job.add_done_callback(partial(_answer, message, received_s, writer, tally))
                elif isinstance(message, WarmUp):
                    acknowledgement = frame(WarmUp())
                    writer.write(acknowledgement)
                    tally.warm_up_bytes += len(acknowledgement)
        except (OSError, asyncio.IncompleteReadError, WireError):
            pass  # the device reconnects, and sends again what was not answered
        except asyncio.CancelledError:
            silently = True
            raise
        finally:
            tally.add(handle.end(silently=silently), accepted=True)
            if silently:
                writer.transport.abort()
            else:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    def forget(self) -> None:
        """Drop all work, as a node that is switched off does."""
        for job in self._jobs.values():
            job.cancel()
        self._jobs.clear()

    async def _job(self, request: Request, payload: bytes, received_s: float) -> Reply:
        if self._queued == MAX_QUEUED_JOBS:
            return _refusal(request, f"{MAX_QUEUED_JOBS} jobs are queued already", received_s)
        self._queued += 1
        try:
            return await self._execute(request, payload, received_s)
        except Exception as error:  # a payload from the network may do anything to a decoder; the edge goes on
            return _refusal(request, f"{type(error).__name__}: {error}", received_s)
        finally:
            self._queued -= 1

    async def _execute(self, request: Request, payload: bytes, received_s: float) -> Reply:
        async with self._executor.turn(self._compute.expected_s(request.option, "decode", "tail")):
            started_s = time.monotonic()
            part = await self._compute.on_edge(request.image, request.option, payload)
        return Reply(request.job_id, part.predicted, None, received_s, started_s, part.decoded_s, part.done_s)


def _answer(
    request: Request, received_s: float, writer: asyncio.StreamWriter, tally: Tally, job: asyncio.Task[Reply]
) -> None:
    """Send the answer of a job that has ended, unless it was dropped or the connection has ended."""
    if job.cancelled() or writer.is_closing():
        return
    reply = job.result()
    if request.attempt > 1 and reply.received_s < received_s:
        reply = as_received_at(reply, received_s)
    answer = frame(reply)
    writer.write(answer)
    tally.written_bytes += len(answer)


def as_received_at(reply: Reply, received_s: float) -> Reply:
    """The answer of an earlier attempt, as this one sees it: what was over when it arrived took it no time."""
    return Reply(
        reply.job_id,
        reply.predicted,
        reply.error,
        received_s,
        max(received_s, reply.started_s),
        max(received_s, reply.decoded_s),
        max(received_s, reply.done_s),
    )


def _refusal(request: Request, error: str, received_s: float) -> Reply:
    now_s = time.monotonic()
    return Reply(request.job_id, None, error[:500], received_s, now_s, now_s, now_s)
