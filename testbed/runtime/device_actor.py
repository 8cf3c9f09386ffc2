"""The process of some devices: it lets their runs begin and hands over their rows. A plain class; Ray wraps it."""

from __future__ import annotations

import asyncio
import itertools
import os
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from testbed.cluster.clocks import Offset
from testbed.documents.resolved import Compute, ResolvedTopology
from testbed.jobs.job import Job
from testbed.jobs.ledger import LedgerRow
from testbed.jobs.profile import Profile
from testbed.network.addressing import addressing
from testbed.network.limits import enter_limits
from testbed.offloading.policy import Policy, make_policy
from testbed.runtime import paths
from testbed.runtime.alarm import Alarm
from testbed.runtime.board import Board
from testbed.runtime.compute import NodeCompute, RunInputs, make_compute
from testbed.runtime.connection import EdgeConnection
from testbed.runtime.decider import Assigned, SlotClock, ahead_s
from testbed.runtime.device import Device, EdgeLink
from testbed.runtime.memory import settle
from testbed.runtime.precedence import go_along, go_first
from testbed.runtime.run_spec import NodeAddress, RunSpec
from testbed.runtime.tally import Tally
from testbed.runtime.user_modules import make_importable_anew

DRAINED = "unanswered when draining ended"
_TELL_AHEAD_S = 0.003


class DeviceActor:
    """Some devices, run after run."""

    def __init__(self, names: list[str], topology: bytes, board: str) -> None:
        self._names = names
        self._topology = msgspec.msgpack.decode(topology, type=ResolvedTopology)
        for name in names:  # one that has any is alone here
            enter_limits(self._topology, name)
        self._plan = addressing(self._topology)
        self._board = Board(Path(board), self._topology)
        self._run: RunSpec | None = None
        self._alarm: Alarm | None = None
        self._devices: dict[str, Device] = {}
        self._computes: list[NodeCompute] = []
        self._tallies: list[Tally] = []
        self._rows: list[LedgerRow] = []
        self._running: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._clocks: dict[str, Offset] = {}  # of the edges on other machines

    async def pid(self) -> int:
        """This process."""
        return os.getpid()

    async def prepare(self, spec: bytes) -> None:
        """Load what the run needs, connect every device to every edge in its reach, and open TCP's windows.

        Raises:
            ConnectionLostError: an edge does not answer a device.
        """
        await self.finish()
        run = self._run = RunSpec.decode(spec)
        self._alarm = Alarm()
        self._tallies = []
        inputs = RunInputs.of(run)
        make_importable_anew(run.search_path)
        policy = deciding(run.policy, run.options, run.seed, run.estimate_error, by_slots=run.slots is not None)
        for name in self._names:
            compute = make_compute(self._topology.devices[name].compute, run.profile, self._alarm, inputs)
            self._computes.append(compute)
            self._devices[name] = Device(
                name=name,
                alarm=self._alarm,
                board=self._board,
                compute=compute,
                flops_per_s=_pace(self._topology.devices[name].compute, run.profile),
                edges=self._edges(name, run),
                labels=run.labels,
                policy=policy,
                policy_name=run.policy,
                profile=run.profile,
                account=self._rows.append,
                assigned=self._assigned(name, run, self._alarm),
            )
        await asyncio.gather(*(device.open() for device in self._devices.values()))
        settle()
        go_first(*(self._topology.devices[name].limits for name in self._names))

    async def start(self, start_s: float) -> None:
        """Let the run begin at an instant of the monotonic clock; returns at once."""
        self._running = asyncio.create_task(self._issue(start_s))
        if self._run and self._run.slots:
            clock = SlotClock(start_s, self._run.slots.slot_s, ahead_s(self._topology))
            self._telling = asyncio.create_task(self._tell(clock))

    async def collect(self) -> bytes:
        """The rows since the last call, and whether they were the last: msgpack of `(rows, finished)`."""
        finished = self._running is None or self._running.done()
        rows = msgspec.msgpack.encode((self._rows, finished))
        self._rows.clear()
        return rows

    async def finish(self) -> bytes:
        """End the run, whatever is still open: msgpack of the rows not yet collected and the pacing overruns."""
        go_along()
        if self._telling:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
            self._telling = None
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
        await asyncio.gather(*(device.close() for device in self._devices.values()))
        if self._alarm:
            self._alarm.close()
            self._alarm = None
        overruns = sum(compute.overruns for compute in self._computes)
        answer = msgspec.msgpack.encode((self._rows, overruns))
        self._devices, self._computes = {}, []
        self._rows.clear()
        return answer

    async def compare(self, clocks: bytes) -> None:
        """Take how far the clocks of edges on other machines are ahead of this one's; msgpack, by edge."""
        self._clocks = msgspec.msgpack.decode(clocks, type=dict[str, Offset])

    async def give_up(self, edges: list[str], reason: str) -> None:
        """Have no more to do with some edges in this run: what waits for them ends with the reason given."""
        await asyncio.gather(*(device.give_up(edges, reason) for device in self._devices.values()))

    async def abandon(self, reason: str) -> None:
        """End the run here: what is open, or would have arrived, ends with the reason given."""
        for device in self._devices.values():
            device.abandon(reason)

    async def tallies(self) -> bytes:
        """What each device sent to each edge in the last run; msgpack."""
        return msgspec.msgpack.encode(self._tallies)

    async def _issue(self, start_s: float) -> None:
        run = self._run
        assert run is not None
        jobs: dict[str, list[Job]] = {name: [] for name in self._names}
        for job in run.jobs:
            if job.device in jobs:
                jobs[job.device].append(job)
        end_s = start_s + run.drain_s
        events = {name: [event for event in run.node_events if event.node == name] for name in self._names}
        await asyncio.gather(
            *(
                self._devices[name].run(jobs[name], start_s, end_s, DRAINED, events[name], run.chained_s)
                for name in self._names
            )
        )

    async def _tell(self, clock: SlotClock) -> None:
        """Publish before each slot how the devices stand, a little before it is decided."""
        assert self._alarm is not None
        for slot in itertools.count():
            await self._alarm.until(clock.looks_s(slot) - _TELL_AHEAD_S)
            for device in self._devices.values():
                device.tell()

    def _assigned(self, device: str, run: RunSpec, alarm: Alarm) -> Assigned | None:
        if run.slots is None:
            return None
        return Assigned(self._board.slots, device, run.profile, run.slots.slot_s, alarm)

    def _clock(self, edge: str) -> Offset | None:
        return self._clocks.get(edge)

    def _edges(self, device: str, run: RunSpec) -> dict[str, EdgeLink]:
        links = {}
        for edge, resolved in self._topology.edges.items():
            way = paths.path(self._topology, device, edge)
            if way is not None:
                here, there = paths.addresses(self._topology, self._plan, way)
                self._tallies.append(Tally(device, edge))
                connection = EdgeConnection(
                    NodeAddress(run.nodes[device].pid, here),
                    there,
                    self._topology.congestion_control,
                    self._tallies[-1],
                )
                pace = _pace(resolved.compute, run.profile)
                links[edge] = EdgeLink(connection, way, pace, partial(self._clock, edge))
        return links


def deciding(name: str, options: dict[str, Any], seed: int, estimate_error: float, *, by_slots: bool) -> Policy:
    """What decides jobs on devices; where slots are decided, greedy, for when they are not."""
    if not by_slots:
        return make_policy(name, options, seed, estimate_error=estimate_error)
    considered = {option: value for option, value in options.items() if option == "encodings"}
    return make_policy("greedy", considered, seed, estimate_error=estimate_error)


def _pace(compute: Compute, profile: Profile) -> float:
    return compute.flops_per_s or profile.reference_flops_per_s
