"""A run on the model: the same jobs, policies and channel as on the emulated network, in simulated time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial

import msgspec
import simpy

from testbed.documents.resolved import (
    Event,
    KillEvent,
    LinkParameters,
    PolicySpec,
    ResolvedTopology,
    StartEvent,
    StopEvent,
)
from testbed.jobs.job import Job
from testbed.jobs.ledger import LedgerRow
from testbed.jobs.profile import Profile
from testbed.jobs.slot import SlotRow
from testbed.network.event_log import Happened
from testbed.network.record import LinkRows
from testbed.offloading.prediction import HEADER_BYTES, SEGMENT_BYTES
from testbed.offloading.slot_policy import decides_slots, make_slot_policy
from testbed.runtime import paths
from testbed.runtime.decider import Outlook, SlotClock, jobs_per_s
from testbed.runtime.device import warm_up_bytes
from testbed.runtime.device_actor import deciding
from testbed.simulation.board import Board
from testbed.simulation.connection import Connection
from testbed.simulation.device import Device, EdgeLink
from testbed.simulation.edge import Edge
from testbed.simulation.instants import after
from testbed.simulation.network import Network
from testbed.simulation.overheads import DEVICE_PACED_S, EDGE_PACED_S
from testbed.simulation.pace import Pace, Photographs
from testbed.simulation.routes import ways
from testbed.simulation.slots import Assigned, decide_slots, slot_board
from testbed.simulation.warm_up import opened_window

_OFF_POLL_S = 0.01
_GARBAGE = 100_000  # objects between collections
_BEFORE_S = 1.0
"""Simulated time begins so long before the run: the first slot is decided before it."""


class Simulation:
    """One run under one policy. What has happened since it was last asked for is taken from it."""

    def __init__(
        self,
        topology: ResolvedTopology,
        events: Sequence[Event],
        policy: PolicySpec,
        *,
        seed: int,
        estimate_error: float,
        slot_s: float,
        deadline_s: float,
        jobs: Sequence[Job],
        drain_s: float,
        chained_s: float | None,
        profile: Profile,
        labels: dict[int, int],
        photographs: Photographs,
    ) -> None:
        """Everything at rest, before the first job.

        Args:
            topology: the network and its nodes.
            events: what happens to them.
            policy: what decides.
            seed: of channels, losses, and policies that draw.
            estimate_error: of what policies see.
            slot_s: how often a policy that decides slots does so.
            deadline_s: what such a policy is told that every job has.
            jobs: by their arrival.
            drain_s: from the run's start: what is unanswered then has failed.
            chained_s: until then each device issues a job when its last has ended; None: as they arrive.
            profile: the model's.
            labels: photograph to class, for the photographs of the run.
            photographs: what each of them becomes under each option.
        """
        env = self._env = simpy.Environment(initial_time=-_BEFORE_S)
        self._jobs, self._drain_s = jobs, drain_s
        self.rows: list[LedgerRow] = []
        self.slots: list[SlotRow] = []
        self._issued = 0  # jobs, in their order
        self._chains = 0  # devices that have jobs left to issue, one after another
        board = Board(topology, lambda: env.now)
        self._network = Network(env, topology, events, seed, board)
        edges = {
            name: Edge(env, name, Pace(edge.compute, profile, EDGE_PACED_S), photographs)
            for name, edge in topology.edges.items()
        }
        paces = {
            compute: Pace(compute, profile, DEVICE_PACED_S)
            for compute in {node.compute for node in topology.devices.values()}
        }
        for name, edge in edges.items():
            board.tells_backlog(name, partial(_backlog_s, edge))
        clock = SlotClock(0.0, slot_s) if decides_slots(policy.name) else None
        slots = slot_board(topology) if clock else None
        policy_of_jobs = deciding(policy.name, policy.options, seed, estimate_error, by_slots=clock is not None)
        self._devices: dict[str, Device] = {}
        for name, reached in ways(topology).items():
            links: dict[str, EdgeLink] = {}
            for to, way in reached.items():
                back = paths.reverse(way)
                narrowest_bps = min(board.link(hop).bandwidth_bps for hop in way)
                round_trip_s = _round_trip_s([board.link(hop) for hop in (*way, *back)])
                window = opened_window(warm_up_bytes(narrowest_bps), narrowest_bps, round_trip_s)
                up, down = self._network.lines(way), self._network.lines(back)
                connection = Connection(env, up, down, edges[to], window, round_trip_s)
                links[to] = EdgeLink(connection, way, back, edges[to].pace.flops_per_s)
                board.tells_unsent(name, to, partial(_unsent, connection))
            device = self._devices[name] = Device(
                env,
                name=name,
                board=board,
                pace=paces[topology.devices[name].compute],
                edges=links,
                photographs=photographs,
                labels=labels,
                policy=policy_of_jobs,
                policy_name=policy.name,
                profile=profile,
                account=self.rows.append,
                assigned=Assigned(env, clock, slots, name, profile) if clock and slots else None,
            )
            board.tells_backlog(name, partial(_backlog_s, device))
        nodes: dict[str, Device | Edge] = {**edges, **self._devices}
        for event in events:
            match event:
                case KillEvent(at_s=at_s, node=node):
                    self._at(at_s, partial(self._kill, edges[node], event))
                case StopEvent(at_s=at_s, node=node) if node in nodes:
                    self._at(at_s, nodes[node].stop)
                case StartEvent(at_s=at_s, node=node) if node in nodes:
                    self._at(at_s, nodes[node].start)
        if clock and slots:
            rate = jobs_per_s(jobs, len(topology.devices), slot_s, chained_s)
            outlook = Outlook(topology, board, profile, slot_s, deadline_s, rate)
            decider = make_slot_policy(policy.name, policy.options, seed, estimate_error=estimate_error)
            env.process(decide_slots(env, clock, topology, outlook, decider, slots, self._network, self.slots.append))
        if chained_s is None:
            env.process(self._issue())
        else:
            self._chain(chained_s)

    @property
    def events(self) -> list[Happened]:
        """The run's events, and when they happened."""
        return self._network.log.events

    @property
    def now_s(self) -> float:
        """From the run's start."""
        return float(self._env.now)

    @property
    def _going_on(self) -> bool:
        waiting = self._issued < len(self._jobs) or self._chains
        return bool(waiting) or any(device.busy for device in self._devices.values())

    def play(self, step_s: float) -> Iterator[float]:
        """Goes on step by step, telling the seconds from the run's start, until every job has ended."""
        now_s = 0.0
        gc.collect()
        gc.freeze()  # what stays for the run need not be gone through again and again: a quarter of its time
        thresholds = gc.get_threshold()
        gc.set_threshold(_GARBAGE, *thresholds[1:])
        try:
            while self._going_on and now_s < self._drain_s:
                now_s = min(now_s + step_s, self._drain_s)
                self._env.run(until=now_s)
                yield now_s
        finally:
            gc.set_threshold(*thresholds)
            gc.unfreeze()

    def end(self, reason: str) -> None:
        """What is open ends with the reason given, and so do the jobs that have not arrived."""
        for job in self._jobs[self._issued :]:
            self._devices[job.device].issue(job)
        for device in self._devices.values():
            device.end(reason)

    def take_rows(self) -> list[LedgerRow]:
        """The jobs that have ended since the last call."""
        rows = self.rows[:]
        self.rows.clear()
        return rows

    def take_links(self) -> LinkRows:
        """The links as set since the last call."""
        return self._network.take_rows()

    def _issue(self) -> Generator[simpy.Event, None, None]:
        for job in self._jobs:
            if job.arrival_s > self._env.now:
                yield self._env.timeout(job.arrival_s - self._env.now)
            self._issued += 1
            self._devices[job.device].issue(job)

    def _chain(self, until_s: float) -> None:
        self._issued = len(self._jobs)
        of: dict[str, list[Job]] = {}
        for job in self._jobs:
            of.setdefault(job.device, []).append(job)
        for name, jobs in of.items():
            self._chains += 1
            self._env.process(self._in_turn(self._devices[name], jobs, until_s))

    def _in_turn(self, device: Device, jobs: Sequence[Job], until_s: float) -> Generator[simpy.Event, object, None]:
        yield self._env.timeout(-self._env.now)
        for job in jobs:
            while not device.on:
                yield self._env.timeout(_OFF_POLL_S)
            if self._env.now >= until_s:
                break
            ends_s = min(self._env.now + job.deadline_s, until_s)
            failed = yield device.issue(msgspec.structs.replace(job, arrival_s=self._env.now))
            if failed and self._env.now < ends_s:  # who waits for an answer does so until its deadline
                yield self._env.timeout(ends_s - self._env.now)
        self._chains -= 1

    def _at(self, at_s: float, do: Callable[[], None]) -> None:
        after(self._env, at_s - self._env.now, do)

    def _kill(self, edge: Edge, event: KillEvent) -> None:
        edge.kill()
        self._network.log.killed(event.at_s, event.node, self._env.now)


def _backlog_s(node: Device | Edge) -> float:
    return node.executor.backlog_s


def _unsent(connection: Connection) -> int | None:
    return connection.unsent_bytes if connection.connected else None


def _round_trip_s(links: Sequence[LinkParameters]) -> float:
    """What TCP measures of a way there and back with a segment and its acknowledgement, when nothing else is on it."""
    half = len(links) // 2
    sizes = [SEGMENT_BYTES + HEADER_BYTES] * half + [HEADER_BYTES] * half
    return sum(link.delay_s + 8 * size / link.bandwidth_bps for link, size in zip(links, sizes, strict=True))
