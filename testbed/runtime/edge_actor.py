"""The process of one edge: from run to run it listens in the edge's namespace. A plain class; Ray wraps it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from testbed.documents.resolved import ResolvedTopology
from testbed.runtime import sockets
from testbed.runtime.alarm import Alarm
from testbed.runtime.board import Board
from testbed.runtime.compute import NodeCompute, RunInputs, make_compute
from testbed.runtime.edge import Edge
from testbed.runtime.run_spec import NodeAddress, RunSpec


class EdgeActor:
    """One edge, run after run."""

    def __init__(self, name: str, address: NodeAddress, topology: bytes, board: str) -> None:
        self._name, self._address = name, address
        self._topology = msgspec.msgpack.decode(topology, type=ResolvedTopology)
        self._board = Board(Path(board), self._topology)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._alarm: Alarm | None = None
        self._compute: NodeCompute | None = None

    async def pid(self) -> int:
        """This process."""
        return os.getpid()

    async def prepare(self, spec: bytes) -> None:
        """Load what the run needs, and listen."""
        await self.finish()
        run = RunSpec.decode(spec)
        self._alarm = Alarm()
        self._compute = make_compute(
            self._topology.edges[self._name].compute, run.profile, self._alarm, RunInputs.of(run)
        )
        edge = Edge(self._name, self._compute, self._board)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._connections.add(task)
            try:
                await edge.serve(reader, writer)
            finally:
                self._connections.discard(task)

        listener = sockets.listening(self._address.pid, self._address.address, self._topology.congestion_control)
        self._server = await asyncio.start_server(serve, sock=listener)

    async def finish(self) -> int:
        """End the run: stop listening, drop the connections. Returns the pacing overruns."""
        if self._server:
            self._server.close()
            self._server = None
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._alarm:
            self._alarm.close()
            self._alarm = None
        self._board.set_busy_until(self._name, 0.0)
        overruns = self._compute.overruns if self._compute else 0
        self._compute = None
        return overruns
