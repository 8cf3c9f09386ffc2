"""One device: waits for each job's arrival, has it decided, computes its part, sends it, and accounts for it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from testbed.cluster.clocks import Offset
from testbed.jobs.decision import Decision
from testbed.jobs.job import Job
from testbed.jobs.ledger import LedgerRow
from testbed.jobs.observation import EdgeView, Observation
from testbed.jobs.profile import Profile
from testbed.offloading.errors import NoEdge
from testbed.offloading.policy import Policy
from testbed.runtime import paths, power
from testbed.runtime.accounts import Accounts, Progress
from testbed.runtime.alarm import Alarm
from testbed.runtime.board import Board
from testbed.runtime.compute import NodeCompute
from testbed.runtime.connection import Answer, ConnectionLostError, EdgeConnection
from testbed.runtime.decider import Assigned
from testbed.runtime.executor import Executor
from testbed.runtime.times import one_way_s
from testbed.runtime.wire import Request, frame

MAX_ATTEMPTS = 3

_OFF_POLL_S = 0.01

_WARM_UP_BYTES = 96 * 2**10
_WARM_UP_S = 1.0
"""TCP's window is opened by so many bytes before a run, or by what the way passes in so many seconds."""


def warm_up_bytes(narrowest_bps: float) -> int:
    """What opens TCP's window over a way of that rate."""
    return min(_WARM_UP_BYTES, int(narrowest_bps / 8 * _WARM_UP_S))


class StoppedError(Exception):
    """The device is switched off."""


class EdgeFaultError(Exception):
    """An edge answered that it could not do a job."""


class EdgeLink(msgspec.Struct, frozen=True):
    """What a device knows of an edge: the connection, the way there, and the edge's pace in FLOP/s."""

    connection: EdgeConnection
    way: tuple[paths.Hop, ...]
    flops_per_s: float
    clock: Callable[[], Offset | None] = lambda: None  # of its machine, as seen from here; None: it is this one


class Device:
    """Runs one device's jobs of one run, and accounts for each in a ledger row, whatever becomes of it."""

    def __init__(
        self,
        *,
        name: str,
        alarm: Alarm,
        board: Board,
        compute: NodeCompute,
        flops_per_s: float,
        edges: dict[str, EdgeLink],
        labels: dict[int, int],
        policy: Policy,
        policy_name: str,
        profile: Profile,
        account: Callable[[LedgerRow], None],
        assigned: Assigned | None = None,
    ) -> None:
        """`assigned` is what is decided by slots; then `policy` decides where nothing was."""
        self._name, self._alarm, self._board, self._compute, self._flops_per_s = (
            name,
            alarm,
            board,
            compute,
            flops_per_s,
        )
        self._edges, self._profile, self._accounts = edges, profile, Accounts(policy_name, labels)
        self._policy, self._account = policy, account
        self._assigned = assigned
        self._executor = Executor(lambda instant_s: board.set_busy_until(name, instant_s))
        self._on = True
        self._lives: dict[asyncio.Task[LedgerRow], Progress] = {}  # jobs that have arrived
        self._given_up: list[str] = []  # why edges were
        self._abandoned: asyncio.Future[str] | None = None  # while it runs: resolved, it ends for that reason

    async def open(self) -> None:
        """Connect to every edge in reach and open TCP's windows.

        Raises:
            ConnectionLostError: an edge does not answer.
        """
        await asyncio.gather(*(self._open(name, edge) for name, edge in self._edges.items()))

    async def close(self) -> None:
        """End the connections."""
        await asyncio.gather(*(edge.connection.close() for edge in self._edges.values()))

    async def run(
        self,
        jobs: list[Job],
        start_s: float,
        end_s: float,
        end_reason: str,
        power_events: Sequence[power.PowerEvent] = (),
        chained_s: float | None = None,
    ) -> None:
        """Issue the jobs from `start_s` on (monotonic clock); what is open at `end_s` ends with the reason given.

        With `chained_s` a job arrives when the last has been answered, or its deadline has passed, and none after so
        long from the start: those that are left are never issued. Meanwhile the device is switched off and on by its
        events: what is open then ends, and what arrives is dropped.
        """
        self._abandoned = asyncio.get_running_loop().create_future()
        waiting = collections.deque(sorted(jobs, key=lambda job: job.arrival_s))
        issue = self._as_they_arrive(waiting, start_s) if chained_s is None else self._in_turn(jobs, start_s, chained_s)
        issuing = asyncio.create_task(issue)
        clock = asyncio.create_task(self._alarm.until(end_s))
        switch = asyncio.create_task(
            power.follow(self._alarm, start_s, power_events, self._switch_off, self._switch_on)
        )
        try:
            await asyncio.wait((issuing, clock, self._abandoned), return_when=asyncio.FIRST_COMPLETED)
            if self._abandoned.done():
                end_reason = self._abandoned.result()
        except asyncio.CancelledError:
            end_reason = "the run was interrupted"
            raise
        finally:
            for task in (issuing, clock, switch):
                task.cancel()
            self._abandoned.cancel()
            self._end_all(end_reason)
            await asyncio.gather(issuing, *self._lives, return_exceptions=True)
            if chained_s is None:
                for job in waiting:
                    self._account(self._accounts.unanswered(job, Progress(), end_reason))
        if not issuing.cancelled():
            issuing.result()  # raises what it did

    def tell(self) -> None:
        """Publish how the connections stand, for who decides for all devices."""
        for name, edge in self._edges.items():
            unsent_bytes = edge.connection.unsent_bytes if edge.connection.connected else None
            self._board.set_unsent(self._name, name, unsent_bytes)

    def abandon(self, reason: str) -> None:
        """End a run that is going on: what is open, or would have arrived, ends with the reason given."""
        if self._abandoned and not self._abandoned.done():
            self._abandoned.set_result(reason)

    async def give_up(self, edges: Sequence[str], reason: str) -> None:
        """Have no more to do with some edges: what waits for them ends with the reason given."""
        self._given_up += [reason] if reason not in self._given_up else []
        await asyncio.gather(*(edge.connection.close(reason) for name, edge in self._edges.items() if name in edges))

    async def _switch_off(self) -> None:
        self._on = False
        self._end_all(self._off)
        await asyncio.gather(*(edge.connection.close(self._off) for edge in self._edges.values()))

    async def _switch_on(self) -> None:
        self._on = True
        for edge in self._edges.values():
            edge.connection.connect()

    @property
    def _off(self) -> str:
        return f"{self._name} was stopped"

    async def _open(self, name: str, edge: EdgeLink) -> None:
        narrowest_bps = min(self._board.link(hop).bandwidth_bps for hop in edge.way)
        try:
            await edge.connection.open(warm_up_bytes(narrowest_bps))
        except ConnectionLostError as error:
            raise ConnectionLostError(f"{self._name} cannot reach {name}: {error}") from error

    async def _as_they_arrive(self, waiting: collections.deque[Job], start_s: float) -> None:
        """Take each job, in the order of their arrivals, when it arrives; return when all have ended."""
        while waiting:
            await self._alarm.until(start_s + waiting[0].arrival_s)
            self._begin(waiting.popleft(), start_s)
        while self._lives:
            await asyncio.wait(self._lives)

    async def _in_turn(self, jobs: list[Job], start_s: float, chained_s: float) -> None:
        await self._alarm.until(start_s)
        for job in jobs:
            while not self._on:
                await self._alarm.until(time.monotonic() + _OFF_POLL_S)
            now_s = time.monotonic() - start_s
            if now_s >= chained_s:
                break
            life = self._begin(msgspec.structs.replace(job, arrival_s=now_s), start_s)
            await asyncio.wait((life,))
            if not life.cancelled() and life.exception():  # who waits for an answer does so until its deadline
                await self._alarm.until(start_s + min(now_s + job.deadline_s, chained_s))

    def _begin(self, job: Job, start_s: float) -> asyncio.Task[LedgerRow]:
        progress = Progress()
        life = asyncio.create_task(self._job(job, start_s, progress))
        self._lives[life] = progress
        life.add_done_callback(partial(self._ended, job))
        return life

    def _end_all(self, reason: str) -> None:
        for life, progress in self._lives.items():
            progress.fault = progress.fault or reason
            life.cancel()

    def _ended(self, job: Job, life: asyncio.Task[LedgerRow]) -> None:
        progress = self._lives.pop(life)
        if life.cancelled():
            row = self._accounts.unanswered(job, progress, progress.fault or "cancelled")
        elif error := life.exception():
            row = self._accounts.unanswered(job, progress, str(error) or type(error).__name__)
        else:
            row = life.result()
        self._account(row)

    async def _job(self, job: Job, start_s: float, progress: Progress) -> LedgerRow:
        arrival_s = start_s + job.arrival_s
        if not self._on:
            raise StoppedError(self._off)
        dispatched_s = time.monotonic()
        progress.dispatch_ms = (dispatched_s - arrival_s) * 1e3
        decision = progress.decision = await self._decide(job, start_s, progress)
        option, decided_s = decision.option, time.monotonic()

        expected_s = self._compute.expected_s(option, "head", "encode")
        turn = (
            self._executor.turn(expected_s) if expected_s > 0 else contextlib.nullcontext()
        )  # raw: nothing to compute
        async with turn:
            started_s = time.monotonic()
            result, headed_s, encoded_s = await self._compute.on_device(job.image, option)
        stages_s = {
            "wait": dispatched_s - arrival_s + started_s - decided_s,
            "decide": decided_s - dispatched_s,
            "head": headed_s - started_s,
            "encode": encoded_s - headed_s,
        }
        if isinstance(result, int):
            return self._accounts.answered(job, progress, decision, stages_s, result)

        answer = await self._offload(job, decision, result, progress, arrival_s)
        reply = answer.reply
        if reply.error is not None or reply.predicted is None:
            raise EdgeFaultError(f"{decision.edge}: {reply.error}")
        stages_s["wait"] += answer.sent_s - encoded_s
        clock = self._edges[decision.edge].clock() if decision.edge else None
        uplink_s, downlink_s = one_way_s(
            answer.sent_s, reply.received_s, reply.done_s, answer.answered_s, clock.offset_s if clock else 0.0
        )
        stages_s |= {
            "uplink": uplink_s,
            "edge_wait": reply.started_s - reply.received_s,
            "decode": reply.decoded_s - reply.started_s,
            "tail": reply.done_s - reply.decoded_s,
            "downlink": downlink_s,
        }
        error_ms = clock.error_s * 1e3 if clock else None
        return self._accounts.answered(job, progress, decision, stages_s, reply.predicted, error_ms)

    async def _decide(self, job: Job, start_s: float, progress: Progress) -> Decision:
        if self._assigned is not None:
            progress.decided_by, decision = await self._assigned.decision(start_s)
            if decision is not None:
                return decision
        try:
            return self._policy.decide(self._observation(job, time.monotonic() - start_s))
        except NoEdge as error:
            raise NoEdge("; ".join([str(error), *self._given_up])) from error

    async def _offload(
        self, job: Job, decision: Decision, payload: bytes, progress: Progress, arrival_s: float
    ) -> Answer:
        """Send the payload until it is answered; the edge knows by its id a job that it has already."""
        if decision.edge not in self._edges:
            raise ConnectionLostError(f"{decision.edge}: there is no way there from {job.device}")
        connection = self._edges[decision.edge].connection
        give_up_s = arrival_s + 2 * job.deadline_s  # then nobody waits for it any more
        while True:
            try:
                await connection.ready(give_up_s)
                request = frame(Request(job.job_id, progress.attempts + 1, job.image, decision.option), payload)
                sent_s = connection.send(request)
                progress.attempts += 1
                progress.payload_bytes = len(payload)
                progress.wire_bytes += len(request)
                return await connection.answer(job.job_id, sent_s)
            except ConnectionLostError as error:
                if progress.attempts == MAX_ATTEMPTS or time.monotonic() >= give_up_s:
                    raise ConnectionLostError(f"{decision.edge}: {error}") from error

    def _observation(self, job: Job, now_s: float) -> Observation:
        now = time.monotonic()
        edges = {
            name: EdgeView(
                up=paths.view([self._board.link(hop) for hop in edge.way]),
                down=paths.view([self._board.link(hop) for hop in paths.reverse(edge.way)]),
                backlog_s=max(0.0, self._board.busy_until(name) - now),
                flops_per_s=edge.flops_per_s,
                unsent_bytes=edge.connection.unsent_bytes,
            )
            for name, edge in self._edges.items()
            if edge.connection.connected
        }
        return Observation(job, now_s, self._executor.backlog_s, self._flops_per_s, edges, self._profile)
