"""One device: has each job decided as it arrives, computes its part, sends it, and accounts for it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple

import simpy

from testbed.jobs.decision import Decision, Kind
from testbed.jobs.job import Job
from testbed.jobs.ledger import LedgerRow
from testbed.jobs.observation import EdgeView, Observation
from testbed.jobs.profile import Profile
from testbed.offloading.policy import Policy
from testbed.runtime import paths
from testbed.runtime.accounts import Accounts, Progress
from testbed.runtime.device import MAX_ATTEMPTS
from testbed.runtime.wire import Reply, Request
from testbed.simulation.board import Board
from testbed.simulation.connection import Connection, ConnectionLost
from testbed.simulation.executor import Executor
from testbed.simulation.overheads import DECIDE_S, DISPATCH_S, TURN_S
from testbed.simulation.pace import Pace, Photographs
from testbed.simulation.slots import Assigned


class JobFault(Exception):  # noqa: N818  what is said of a job
    """Why a job was not answered."""


class EdgeLink(NamedTuple):
    """What a device knows of an edge: the connection, the ways there and back, and the edge's pace in FLOP/s."""

    connection: Connection
    way: tuple[paths.Hop, ...]
    back: tuple[paths.Hop, ...]
    flops_per_s: float


class Device:
    """Runs one device's jobs, and accounts for each in a ledger row, whatever becomes of it."""

    def __init__(
        self,
        env: simpy.Environment,
        *,
        name: str,
        board: Board,
        pace: Pace,
        edges: dict[str, EdgeLink],
        photographs: Photographs,
        labels: dict[int, int],
        policy: Policy,
        policy_name: str,
        profile: Profile,
        account: Callable[[LedgerRow], None],
        assigned: Assigned | None = None,
    ) -> None:
        """`assigned` is what is decided by slots; then `policy` decides where nothing was."""
        self._env, self._name, self._board, self._pace, self._edges = env, name, board, pace, edges
        self._photographs, self._profile, self._accounts = photographs, profile, Accounts(policy_name, labels)
        self._policy, self._account, self._assigned = policy, account, assigned
        self.executor = Executor(env)
        self.on = True
        self._open: dict[simpy.Process, tuple[Job, Progress]] = {}

    @property
    def busy(self) -> bool:
        """Whether a job is open."""
        return bool(self._open)

    def issue(self, job: Job) -> simpy.Process:
        """A job arrives now; its life."""
        progress = Progress()
        life = self._env.process(self._whole(job, progress))
        self._open[life] = job, progress
        return life

    def stop(self) -> None:
        """Switch off: what is open ends, and what arrives is dropped."""
        self.on = False
        for life in list(self._open):
            life.interrupt(self._off)
        for edge in self._edges.values():
            edge.connection.close(self._off)

    def start(self) -> None:
        """Switch on again."""
        self.on = True
        for edge in self._edges.values():
            edge.connection.connect()

    def end(self, reason: str) -> None:
        """The run is over: what is open ends with the reason given."""
        for job, progress in self._open.values():
            self._account(self._accounts.unanswered(job, progress, reason))
        self._open.clear()

    @property
    def _off(self) -> str:
        return f"{self._name} was stopped"

    def _whole(self, job: Job, progress: Progress) -> Generator[simpy.Event, object, bool]:
        """The job, and whether there was no answer to it though the device was on."""
        life, failed = self._env.active_process, False
        try:
            row = yield from self._job(job, progress)
        except simpy.Interrupt as interrupt:
            row = self._accounts.unanswered(job, progress, str(interrupt.cause))
        except (JobFault, ConnectionLost) as error:
            row, failed = self._accounts.unanswered(job, progress, str(error)), True
        assert life is not None
        if self._open.pop(life, None):
            self._account(row)
        return failed

    def _job(self, job: Job, progress: Progress) -> Generator[simpy.Event, object, LedgerRow]:
        env, arrival_s = self._env, self._env.now
        if not self.on:
            raise JobFault(self._off)
        yield env.timeout(DISPATCH_S)
        dispatched_s = env.now
        progress.dispatch_ms = (dispatched_s - arrival_s) * 1e3
        decision = progress.decision = yield from self._decide(job, progress)
        option, decided_s = decision.option, env.now - TURN_S
        offloaded = option.kind is not Kind.LOCAL
        stored = self._photographs[job.image, option]

        expected, real = self._pace.expected(option), self._pace.real(option)
        started_s = env.now
        if expected.head_s + expected.encode_s > 0:  # raw: nothing to compute
            started_s = yield from self.executor.hold(expected.head_s + expected.encode_s, real.head_s + real.encode_s)
        encoded_s = env.now
        stages_s = {
            "wait": dispatched_s - arrival_s + started_s - decided_s,
            "decide": decided_s - dispatched_s,
            "head": real.head_s,
            "encode": encoded_s - started_s - real.head_s,
        }
        if not offloaded:
            return self._accounts.answered(job, progress, decision, stages_s, stored.predicted)

        reply, sent_s = yield from self._offload(job, decision, stored.payload_bytes, progress, arrival_s)
        if reply.error is not None or reply.predicted is None:
            raise JobFault(f"{decision.edge}: {reply.error}")
        stages_s["wait"] += sent_s - encoded_s
        stages_s |= {
            "uplink": reply.received_s - sent_s,
            "edge_wait": reply.started_s - reply.received_s,
            "decode": reply.decoded_s - reply.started_s,
            "tail": reply.done_s - reply.decoded_s,
            "downlink": env.now - reply.done_s,
        }
        return self._accounts.answered(job, progress, decision, stages_s, reply.predicted)

    def _decide(self, job: Job, progress: Progress) -> Generator[simpy.Event, object, Decision]:
        """Decide a job, and let the time pass until its turn may begin."""
        if self._assigned is not None:
            progress.decided_by, decision = yield from self._assigned.decision()
            if decision is not None:
                yield self._env.timeout(TURN_S)
                return decision
        try:
            decided = self._policy.decide(self._observation(job))
        except Exception as error:  # a user's policy may raise anything; its job fails
            raise JobFault(str(error) or type(error).__name__) from error
        yield self._env.timeout(DECIDE_S + TURN_S)
        return decided

    def _offload(
        self, job: Job, decision: Decision, payload_bytes: int, progress: Progress, arrival_s: float
    ) -> Generator[simpy.Event, object, tuple[Reply, float]]:
        """Send the payload until it is answered; the edge knows by its id a job that it has already."""
        if decision.edge not in self._edges:
            raise ConnectionLost(f"{decision.edge}: there is no way there from {job.device}")
        connection = self._edges[decision.edge].connection
        give_up_s = arrival_s + 2 * job.deadline_s  # then nobody waits for it any more
        while True:
            try:
                yield from connection.ready(give_up_s)
                sent_s = self._env.now
                request = Request(job.job_id, progress.attempts + 1, job.image, decision.option)
                progress.attempts += 1
                progress.payload_bytes = payload_bytes
                progress.wire_bytes += connection.send(request, payload_bytes)
                reply = yield from connection.answer(job.job_id)
                return reply, sent_s
            except ConnectionLost as error:
                if progress.attempts == MAX_ATTEMPTS or self._env.now >= give_up_s:
                    raise ConnectionLost(f"{decision.edge}: {error}") from error

    def _observation(self, job: Job) -> Observation:
        link, busy_until, now_s = self._board.link, self._board.busy_until, self._env.now
        edges = {
            name: EdgeView(
                up=paths.view([link(hop) for hop in edge.way]),
                down=paths.view([link(hop) for hop in edge.back]),
                backlog_s=max(0.0, busy_until(name) - now_s),
                flops_per_s=edge.flops_per_s,
                unsent_bytes=edge.connection.unsent_bytes,
            )
            for name, edge in self._edges.items()
            if edge.connection.connected
        }
        return Observation(job, now_s, self.executor.backlog_s, self._pace.flops_per_s, edges, self._profile)
