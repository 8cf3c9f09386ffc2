"""The process of one edge: during runs it listens in the edge's namespace. A plain class; Ray wraps it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from testbed.documents.resolved import ResolvedTopology
from testbed.network.addressing import addressing
from testbed.network.limits import enter_limits
from testbed.runtime import paths, power, sockets
from testbed.runtime.alarm import Alarm
from testbed.runtime.board import Board
from testbed.runtime.compute import NodeCompute, RunInputs, make_compute
from testbed.runtime.edge import Edge
from testbed.runtime.memory import settle
from testbed.runtime.precedence import go_along, go_first
from testbed.runtime.run_spec import NodeAddress, RunSpec
from testbed.runtime.tally import Tally
from testbed.runtime.user_modules import make_importable_anew


class EdgeActor:
    """One edge, run after run."""

    def __init__(self, name: str, address: NodeAddress, topology: bytes, board: str) -> None:
        self._name, self._address = name, address
        self._topology = msgspec.msgpack.decode(topology, type=ResolvedTopology)
        enter_limits(self._topology, name)
        self._board = Board(Path(board), self._topology)
        self._devices = _devices(self._topology, name)
        self._run: RunSpec | None = None
        self._edge: Edge | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._alarm: Alarm | None = None
        self._compute: NodeCompute | None = None
        self._tallies: dict[str, Tally] = {}
        self._power: asyncio.Task[None] | None = None

    async def pid(self) -> int:
        """This process."""
        return os.getpid()

    async def prepare(self, spec: bytes) -> None:
        """Load what the run needs, and listen."""
        await self.finish()
        run = self._run = RunSpec.decode(spec)
        self._alarm = Alarm()
        make_importable_anew(run.search_path)
        self._compute = make_compute(
            self._topology.edges[self._name].compute, run.profile, self._alarm, RunInputs.of(run)
        )
        self._edge = Edge(self._name, self._compute, self._board)
        self._tallies = {device: Tally(self._name, device) for device in self._devices.values()}
        await self._switch_on()
        settle()
        go_first(self._topology.edges[self._name].limits)

    async def start(self, start_s: float) -> None:
        """Let the run begin at an instant of the monotonic clock; returns at once."""
        assert self._run is not None and self._alarm is not None
        events = [event for event in self._run.node_events if event.node == self._name]
        self._power = asyncio.create_task(power.follow(self._alarm, start_s, events, self._switch_off, self._switch_on))

    async def tallies(self) -> bytes:
        """What the last run sent to each device; msgpack. Nothing where the process began after the run did."""
        return msgspec.msgpack.encode(list(self._tallies.values()))

    async def finish(self) -> int:
        """End the run: stop listening, drop the connections. Returns the pacing overruns."""
        go_along()
        if self._power:
            self._power.cancel()
            await asyncio.gather(self._power, return_exceptions=True)
            self._power = None
        await self._switch_off()
        if self._alarm:
            self._alarm.close()
            self._alarm = None
        overruns = self._compute.overruns if self._compute else 0
        self._compute = None
        return overruns

    async def _switch_on(self) -> None:
        listener = sockets.listening(self._address.pid, self._topology.congestion_control)
        self._server = await asyncio.start_server(self._serve, sock=listener)

    async def _switch_off(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        for connection in self._connections:
            connection.cancel()
        if self._edge:
            self._edge.forget()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._board.set_busy_until(self._name, 0.0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None and self._edge is not None
        device = self._devices.get(writer.get_extra_info("peername")[0])
        tally = self._tallies[device] if device else Tally(self._name, "a stranger")
        self._connections.add(task)
        try:
            await self._edge.serve(reader, writer, tally)
        except asyncio.CancelledError:  # switched off; asyncio would complain of a server's task that was cancelled
            pass
        finally:
            self._connections.discard(task)


def _devices(topology: ResolvedTopology, edge: str) -> dict[str, str]:
    """By the address from which it connects, each device that has a way to the edge."""
    plan = addressing(topology)
    ways = {device: paths.path(topology, device, edge) for device in topology.devices}
    return {paths.addresses(topology, plan, way)[0]: device for device, way in ways.items() if way}
