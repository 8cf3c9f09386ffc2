"""A device and an edge over real sockets in a namespace of the test's own, on one event loop, without Ray."""

import asyncio
import itertools
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
    StartEvent,
    StopEvent,
)
from testbed.jobs.decision import LOCAL, Decision, Kind, OperatingPoint, Option
from testbed.jobs.job import Job
from testbed.jobs.ledger import STAGES, LedgerRow, Outcome
from testbed.jobs.observation import Observation
from testbed.jobs.profile import Profile, ProfileRow
from testbed.runtime import sockets
from testbed.runtime.alarm import Alarm
from testbed.runtime.board import Board
from testbed.runtime.compute import EdgePart, PacedCompute
from testbed.runtime.connection import ConnectionLostError, EdgeConnection
from testbed.runtime.device import Device, EdgeLink, warm_up_bytes
from testbed.runtime.edge import Edge
from testbed.runtime.paths import path
from testbed.runtime.payload_store import Stored
from testbed.runtime.run_spec import NodeAddress
from testbed.runtime.tally import Tally

pytestmark = pytest.mark.root

SPLIT = Option(Kind.SPLIT, "aecnn", OperatingPoint("layer3", 16, 4))
LINK = LinkParameters(1e9)
TOPOLOGY = ResolvedTopology(
    name="pair",
    access_points={"ap1": ResolvedAccessPoint()},
    edges={"edge1": ResolvedEdge("ap1", Compute(1e9))},
    devices={"dev1": ResolvedDevice(("ap1",), Compute(1e9))},
    links=(ResolvedLink("dev1", "ap1", LINK, LINK), ResolvedLink("edge1", "ap1", LINK, LINK)),
)


def row(option: Option, head_s: float, encode_s: float, decode_s: float, tail_s: float) -> ProfileRow:
    flops = [1e9 * seconds for seconds in (head_s, encode_s, decode_s, tail_s)]
    return ProfileRow(option, None, 0.9, 0.9, 300, 300, *flops, head_s, encode_s, decode_s, tail_s)


PROFILE = Profile("0" * 64, "sample", 2, 128, 1e9, (row(LOCAL, 0.02, 0, 0, 0), row(SPLIT, 0.01, 0.002, 0.003, 0.004)))
PAYLOAD = bytes(range(256))


def store(payload: bytes) -> dict[tuple[int, Option], Stored]:
    return {(0, SPLIT): Stored(payload, 7), (0, LOCAL): Stored(b"", 8)}


class Always:
    """Decides one thing, and keeps what it saw."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.seen: list[Observation] = []

    def decide(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        return self.decision


@pytest.fixture
def namespace_pid() -> Iterator[int]:
    holder = subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"], stdout=-1
    )
    assert holder.stdout and holder.stdout.readline() == b"up\n"
    yield holder.pid
    holder.kill()
    holder.wait()


class Bench:
    """One device and one edge on this loop; the edge can be taken away and brought back."""

    def __init__(self, folder: Path, pid: int, policy: Always, edge_payload: bytes = PAYLOAD) -> None:
        self.alarm, self.board = Alarm(), Board(folder / "board", TOPOLOGY)
        for link in TOPOLOGY.links:
            for direction in (0, 1):
                self.board.set_link((link.a, link.b), direction, LINK)
        self.address = NodeAddress(pid, "127.0.0.1")
        self.edge_compute = PacedCompute(PROFILE, store(edge_payload), self.alarm, 1e9)
        self.edge = Edge("edge1", self.edge_compute, self.board)
        self.rows: list[LedgerRow] = []
        self.up, self.down = Tally("dev1", "edge1"), Tally("edge1", "dev1")
        self.connection = EdgeConnection(self.address, self.address.address, "cubic", self.up)
        way = path(TOPOLOGY, "dev1", "edge1")
        assert way
        self.device = Device(
            name="dev1",
            alarm=self.alarm,
            board=self.board,
            compute=PacedCompute(PROFILE, store(PAYLOAD), self.alarm, 1e9),
            flops_per_s=1e9,
            edges={"edge1": EdgeLink(self.connection, way, 1e9)},
            labels={0: 7},
            policy=policy,
            policy_name="always",
            profile=PROFILE,
            account=self.rows.append,
        )

    async def listen(self) -> None:
        self.writers: set[asyncio.StreamWriter] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.writers.add(writer)
            await self.edge.serve(reader, writer, self.down)

        listener = sockets.listening(self.address.pid, "cubic")
        self.server = await asyncio.start_server(serve, sock=listener)

    async def vanish(self) -> None:
        """End as a killed process ends: connections are reset."""
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def close(self) -> None:
        await self.device.close()
        await self.vanish()
        self.alarm.close()


def jobs(*arrivals_s: float) -> list[Job]:
    return [Job(number, "dev1", 0, arrival_s, 0.5) for number, arrival_s in enumerate(arrivals_s)]


async def run(bench: Bench, work: list[Job], drain_s: float = 5.0, **options: Any) -> list[LedgerRow]:
    await bench.listen()
    await bench.device.open()
    start_s = time.monotonic() + 0.05
    await bench.device.run(work, start_s, start_s + drain_s, "drained", **options)
    await bench.close()
    return sorted(bench.rows, key=lambda one: one.job_id)


def stages_ms(one: LedgerRow) -> dict[str, float]:
    return {stage: getattr(one, f"{stage}_ms") for stage in STAGES}


def test_a_split_job_passes_through_every_stage(tmp_path: Path, namespace_pid: int) -> None:
    async def main() -> list[LedgerRow]:
        return await run(Bench(tmp_path, namespace_pid, Always(Decision(SPLIT, "edge1"))), jobs(0.0))

    (one,) = asyncio.run(main())
    stages = stages_ms(one)
    assert one.outcome is Outcome.ON_TIME and one.predicted == 7 and one.correct
    assert (one.edge, one.decision, one.encoding, one.split) == ("edge1", "split", "aecnn", "layer3")
    assert one.payload_bytes == len(PAYLOAD) and len(PAYLOAD) < one.wire_bytes < len(PAYLOAD) + 100
    assert sum(stages.values()) == pytest.approx(one.completion_ms, abs=0.1)
    assert all(value >= 0 for value in stages.values())
    for stage, least_ms in {"head": 10, "encode": 2, "decode": 3, "tail": 4}.items():
        assert stages[stage] >= least_ms


def test_local_jobs_queue_at_the_device_and_send_nothing(tmp_path: Path, namespace_pid: int) -> None:
    policy = Always(Decision(LOCAL))

    async def main() -> list[LedgerRow]:
        return await run(Bench(tmp_path, namespace_pid, policy), jobs(0.0, 0.001))

    first, second = asyncio.run(main())
    assert (second.predicted, second.payload_bytes, second.wire_bytes, second.edge) == (8, 0, 0, None)
    assert second.head_ms >= 20
    assert second.wait_ms >= 15  # the first one held the executor for 20 ms, and this one came 1 ms after it
    assert first.wait_ms < second.wait_ms
    assert 0.01 < policy.seen[1].backlog_s <= 0.02
    assert policy.seen[0].edges["edge1"].up.bandwidth_bps == LINK.bandwidth_bps


def test_an_edge_that_breaks_off_is_asked_again_and_the_job_counted_once(tmp_path: Path, namespace_pid: int) -> None:
    executed = []

    async def main() -> list[LedgerRow]:
        bench = Bench(tmp_path, namespace_pid, Always(Decision(SPLIT, "edge1")))
        on_edge = bench.edge_compute.on_edge

        async def breaking(image: int, option: Option, payload: bytes) -> EdgePart:
            executed.append(image)
            if len(executed) == 1:  # the answer is on its way when the connections break
                for writer in bench.writers:
                    writer.transport.abort()
            return await on_edge(image, option, payload)

        bench.edge_compute.on_edge = breaking  # type: ignore[method-assign]
        return await run(bench, jobs(0.0))

    (one,) = asyncio.run(main())
    assert one.outcome is Outcome.ON_TIME
    assert one.attempts == 2
    assert executed == [0]
    assert one.wait_ms > 0 and sum(stages_ms(one).values()) == pytest.approx(one.completion_ms, abs=0.1)


def test_a_job_whose_edge_is_gone_fails_with_the_reason_and_others_go_on(tmp_path: Path, namespace_pid: int) -> None:
    class UntilGone(Always):
        def decide(self, observation: Observation) -> Decision:
            return super().decide(observation) if observation.job.job_id < 2 else Decision(LOCAL)

    async def main() -> list[LedgerRow]:
        bench = Bench(tmp_path, namespace_pid, UntilGone(Decision(SPLIT, "edge1")))

        async def vanish() -> None:
            while not bench.rows:
                await asyncio.sleep(0.001)
            await bench.vanish()

        vanishing = asyncio.create_task(vanish())
        rows = await run(bench, jobs(0.0, 0.2, 0.3))
        await vanishing
        return rows

    first, second, third = asyncio.run(main())
    assert first.outcome is Outcome.ON_TIME
    assert second.outcome in (Outcome.FAILED, Outcome.DROPPED)
    assert second.error and second.error.startswith("edge1: ")
    assert second.completion_ms is None and second.predicted is None
    assert third.outcome is Outcome.ON_TIME and third.decision == "local"


def test_a_payload_that_is_not_the_photographs_fails_with_the_reason(tmp_path: Path, namespace_pid: int) -> None:
    async def main() -> list[LedgerRow]:
        bench = Bench(tmp_path, namespace_pid, Always(Decision(SPLIT, "edge1")), edge_payload=b"another")
        return await run(bench, jobs(0.0))

    (one,) = asyncio.run(main())
    assert one.outcome is Outcome.FAILED
    assert one.error and "256 bytes arrived that are not photograph 0" in one.error


def test_what_is_open_when_draining_ends_is_accounted_for(tmp_path: Path, namespace_pid: int) -> None:
    async def main() -> list[LedgerRow]:
        policy = Always(Decision(SPLIT, "edge1"))
        bench = Bench(tmp_path, namespace_pid, policy)
        return await run(bench, jobs(0.0, 0.2, 0.495, 60.0), drain_s=0.5)

    rows = asyncio.run(main())
    assert [one.job_id for one in rows] == [0, 1, 2, 3]
    assert rows[0].outcome is Outcome.ON_TIME
    assert (rows[2].outcome, rows[2].error) == (Outcome.DROPPED, "drained")  # 12 ms of head and encoder were to come
    assert (rows[3].outcome, rows[3].decision) == (Outcome.DROPPED, None)


def test_chained_jobs_are_issued_when_the_last_has_ended_and_none_when_time_is_up(
    tmp_path: Path, namespace_pid: int
) -> None:
    off_and_on = (StopEvent(0.1, "dev1"), StartEvent(0.25, "dev1"))

    async def main() -> list[LedgerRow]:
        bench = Bench(tmp_path, namespace_pid, Always(Decision(LOCAL)))
        return await run(bench, jobs(*[0.0] * 100), chained_s=0.4, power_events=off_and_on)

    rows = asyncio.run(main())
    assert [one.job_id for one in rows] == list(range(len(rows))) and 6 <= len(rows) <= 13  # of 20 ms, but for 150 ms
    assert all(one.dispatch_ms < 5 and one.wait_ms < 5 for one in rows if one.outcome is Outcome.ON_TIME)
    for one, following in itertools.pairwise(rows):
        if one.outcome is Outcome.ON_TIME:
            assert one.arrival_s + one.completion_ms / 1e3 <= following.arrival_s < 0.4
    (stopped,) = [one for one in rows if one.outcome is not Outcome.ON_TIME]  # it waits to be switched on again
    assert stopped.error == "dev1 was stopped" and stopped.arrival_s < 0.1
    assert rows[stopped.job_id + 1].arrival_s >= 0.25


def test_a_chained_job_that_comes_to_nothing_holds_its_device_until_its_deadline(
    tmp_path: Path, namespace_pid: int
) -> None:
    async def main() -> list[LedgerRow]:
        bench = Bench(tmp_path, namespace_pid, Always(Decision(SPLIT, "edge9")))
        return await run(bench, jobs(*[0.0] * 100), chained_s=0.8)

    rows = asyncio.run(main())
    assert [one.error for one in rows] == ["edge9: there is no way there from dev1"] * 2
    assert rows[0].arrival_s + 0.5 <= rows[1].arrival_s < 0.8


def test_an_edge_refuses_garbage_and_serves_on(tmp_path: Path, namespace_pid: int) -> None:
    async def main() -> list[LedgerRow]:
        bench = Bench(tmp_path, namespace_pid, Always(Decision(SPLIT, "edge1")))
        await bench.listen()
        stranger = sockets.connecting(namespace_pid, "127.0.0.1", "cubic")
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stranger, ("127.0.0.1", 7700))
        await loop.sock_sendall(stranger, b"GET / HTTP/1.1\r\n\r\n")
        assert await loop.sock_recv(stranger, 100) == b""
        stranger.close()
        await bench.device.open()
        start_s = time.monotonic()
        await bench.device.run(jobs(0.0), start_s, start_s + 5, "drained")
        await bench.close()
        return bench.rows

    (one,) = asyncio.run(main())
    assert one.outcome is Outcome.ON_TIME


class Deaf:
    """Takes connections and breaks the first few of them once something has come."""

    def __init__(self, broken: int) -> None:
        self.broken, self.taken = broken, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, serve: Any) -> None:
        self.taken += 1
        if self.taken <= self.broken:
            await reader.read(100)
            writer.transport.abort()
        else:
            await serve(reader, writer)


@pytest.mark.parametrize("broken", [2, 3])
def test_a_connection_that_breaks_while_it_is_warmed_up_is_made_anew_but_not_for_ever(
    tmp_path: Path, namespace_pid: int, broken: int
) -> None:
    async def main() -> int:
        bench, deaf = Bench(tmp_path, namespace_pid, Always(Decision(SPLIT, "edge1"))), Deaf(broken)
        listener = sockets.listening(namespace_pid, "cubic")
        serve = partial(deaf.serve, serve=lambda *ends: bench.edge.serve(*ends, bench.down))
        server = await asyncio.start_server(serve, sock=listener)
        try:
            await bench.device.open()
        finally:
            await bench.device.close()
            server.close()
            bench.alarm.close()
        assert bench.up.warm_up_bytes > 3 * warm_up_bytes(LINK.bandwidth_bps)  # every attempt is counted
        return deaf.taken

    if broken == 2:
        assert asyncio.run(main()) == 3
    else:
        with pytest.raises(ConnectionLostError, match="dev1 cannot reach edge1: the edge closed"):
            asyncio.run(main())
