"""A network with its devices and edges, all in this process: a testbed without Ray."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from testbed.documents.resolved import ResolvedTopology
from testbed.jobs.decision import LOCAL, Kind, Option
from testbed.jobs.job import Job
from testbed.jobs.ledger import LedgerRow
from testbed.jobs.profile import Profile, ProfileRow
from testbed.network.build import EmulatedNetwork
from testbed.network.counters import Carried, Direction, carried_at_rest
from testbed.network.ownership import RUN_FOLDER, Ownership
from testbed.network.shape import Shaping
from testbed.runtime import payload_store
from testbed.runtime.board import Board
from testbed.runtime.device_actor import DeviceActor
from testbed.runtime.edge_actor import EdgeActor
from testbed.runtime.paths import Hop
from testbed.runtime.power import PowerEvent
from testbed.runtime.precedence import go_along
from testbed.runtime.run_spec import NodeAddress, RunSpec
from testbed.runtime.tally import Tally

RAW = Option(Kind.FULL, "raw")
PAYLOAD = os.urandom(20_000)
PROFILE = Profile(
    "0" * 64,
    "sample",
    2,
    128,
    1e9,
    (
        ProfileRow(LOCAL, None, 0.9, 0.9, 0, 0, 2e7, 0.0, 0.0, 0.0, 0.02, 0.0, 0.0, 0.0),
        ProfileRow(RAW, None, 0.9, 0.9, len(PAYLOAD), len(PAYLOAD), 0.0, 0.0, 0.0, 5e6, 0.0, 0.0, 0.0, 0.005),
    ),
)
TURNS = """
from testbed.jobs.decision import Decision, Kind, Option

class Turns:
    '''Job 0 goes to the first edge, job 1 to the second, and so on, whether they are in reach or not.'''

    def __init__(self, edges, seed):
        self.edges = edges

    def decide(self, observation):
        return Decision(Option(Kind.FULL, "raw"), self.edges[observation.job.job_id % len(self.edges)])
"""
_numbers = itertools.count()


class Played(msgspec.Struct):
    """A run, and what there is to prove it by."""

    rows: list[LedgerRow]
    carried: dict[Direction, Carried]
    tallies: list[Tally]


class Stage:
    """A network and its actors, run after run."""

    def __init__(self, network: EmulatedNetwork, folder: Path) -> None:
        self.network, self.topology, self._folder = network, network.topology, folder
        board = Board(folder / "board", self.topology)
        for link in self.topology.links:
            for direction, parameters in enumerate((link.up, link.down)):
                board.set_link((link.a, link.b), direction, parameters)
        (folder / "turns.py").write_text(TURNS)
        rows = [
            {"image": 0, "kind": option.kind.value, "encoding": option.encoding, "payload": payload, "predicted": 1}
            | {"split": None, "kept_channels": None, "bits": None}
            for option, payload in ((LOCAL, b""), (RAW, PAYLOAD))
        ]
        (folder / "store").mkdir()
        payload_store.write_part(folder / "store", "part", rows)

    def play(
        self,
        jobs: Sequence[Job],
        edges: Sequence[str] = ("edge1",),
        events: Sequence[PowerEvent] = (),
        meanwhile: Callable[[float], Awaitable[None]] | None = None,
        drain_s: float = 3.0,
    ) -> Played:
        """Run the jobs, sent to the edges in turn; `meanwhile` is told when the run starts (monotonic clock)."""
        try:
            return asyncio.run(self._play(list(jobs), list(edges), tuple(events), meanwhile, drain_s))
        except BaseException:  # the actors may not have come to their ends
            go_along()
            raise

    async def _play(
        self,
        jobs: list[Job],
        edges: list[str],
        events: tuple[PowerEvent, ...],
        meanwhile: Callable[[float], Awaitable[None]] | None,
        drain_s: float,
    ) -> Played:
        nodes = {
            name: NodeAddress(self.network.namespace_pid(name), self.network.address(name))
            for name in (*self.topology.devices, *self.topology.edges)
        }
        packed = msgspec.msgpack.encode(self.topology)
        board = str(self._folder / "board")
        edge_actors = [EdgeActor(name, nodes[name], packed, board) for name in self.topology.edges]
        devices = DeviceActor(list(self.topology.devices), packed, board)
        spec = RunSpec(
            topology=self.topology,
            nodes=nodes,
            checkpoint="default",
            images="sample",
            store=str(self._folder / "store"),
            profile=PROFILE,
            labels={0: 1},
            policy="turns:Turns",
            options={"edges": edges},
            estimate_error=0.0,
            search_path=(str(self._folder),),
            seed=1,
            jobs=tuple(jobs),
            drain_s=max((job.arrival_s for job in jobs), default=0.0) + drain_s,
            node_events=events,
        ).encode()
        before = carried_at_rest(self.network)
        for actor in (*edge_actors, devices):
            await actor.prepare(spec)
        start_s = time.monotonic() + 0.1
        for actor in (*edge_actors, devices):
            await actor.start(start_s)
        other = asyncio.create_task(meanwhile(start_s)) if meanwhile else None
        rows: list[LedgerRow] = []
        finished = False
        while not finished:
            await asyncio.sleep(0.05)
            more, finished = msgspec.msgpack.decode(await devices.collect(), type=tuple[list[LedgerRow], bool])
            rows += more
        if other:
            await other
        for actor in (devices, *edge_actors):
            await actor.finish()
        tallies = [
            tally
            for actor in (devices, *edge_actors)
            for tally in msgspec.msgpack.decode(await actor.tallies(), type=list[Tally])
        ]
        after = carried_at_rest(self.network)
        return Played(
            sorted(rows, key=lambda row: row.job_id),
            {direction: count.since(before[direction]) for direction, count in after.items()},
            tallies,
        )

    def way(self, hops: Sequence[Hop]) -> list[Direction]:
        """Hops by their nodes' names."""
        links = [self.topology.links[hop.link] for hop in hops]
        return [(link.a, link.b, hop.direction) for link, hop in zip(links, hops, strict=True)]


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Builds networks with their actors; afterwards nothing of them is left."""
    with contextlib.ExitStack() as stack:

        def build(topology: ResolvedTopology, shaping: Shaping = Shaping.RELAY) -> Stage:
            ownership = Ownership.create(f"r{os.getpid()}-{next(_numbers)}")

            def undo() -> None:
                assert ownership.undo().failures == []
                assert not (RUN_FOLDER / ownership.name).exists()

            stack.callback(undo)
            network = EmulatedNetwork.build(topology, shaping, ownership)
            stack.callback(network.stop)
            return Stage(network, tmp_path)

        yield build


@pytest.fixture
def jobs() -> Callable[..., list[Job]]:
    """Jobs of one device, each arriving so many seconds after the last."""
    return lambda count, gap_s, device="dev1", first_s=0.0, deadline_s=1.0: [
        Job(number, device, 0, first_s + gap_s * number, deadline_s) for number in range(count)
    ]
