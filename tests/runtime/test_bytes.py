"""The byte proof of real runs, over links that lose."""

import asyncio
import subprocess
import time

import msgspec
import pytest

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
)
from testbed.jobs.job import Job
from testbed.network.shape import Shaping
from testbed.workload.byte_proof import faults, prove

pytestmark = pytest.mark.root

BACKENDS = [Shaping.RELAY, pytest.param(Shaping.NETEM, marks=pytest.mark.netem)]
PACE = Compute(1e9)
LOSSY, CLEAN = LinkParameters(10e6, 0.005, 0.001, loss=0.03), LinkParameters(100e6, 0.0002)
TREE = ResolvedTopology(
    name="tree",
    access_points={name: ResolvedAccessPoint() for name in ("ap1", "ap2", "core")},
    edges={"edge1": ResolvedEdge("core", PACE), "edge2": ResolvedEdge("core", PACE)},
    devices={
        "dev1": ResolvedDevice(("ap1",), PACE),
        "dev2": ResolvedDevice(("ap1",), PACE),
        "dev3": ResolvedDevice(("ap2",), PACE),
    },
    links=(
        ResolvedLink("dev1", "ap1", LOSSY, LOSSY),
        ResolvedLink("dev2", "ap1", LOSSY, LOSSY),
        ResolvedLink("dev3", "ap2", LOSSY, LOSSY),
        ResolvedLink("ap1", "core", LinkParameters(30e6, 0.002, loss=0.01), LinkParameters(30e6, 0.002, loss=0.01)),
        ResolvedLink("ap2", "core", CLEAN, CLEAN),
        ResolvedLink("edge1", "core", CLEAN, CLEAN),
        ResolvedLink("edge2", "core", CLEAN, CLEAN),
    ),
)


def spread(jobs) -> list[Job]:
    """Jobs of all three devices, numbered through."""
    each = [job for number in (1, 2, 3) for job in jobs(25, 0.1, f"dev{number}", 0.03 * number)]
    return [msgspec.structs.replace(job, job_id=number) for number, job in enumerate(each)]


@pytest.mark.parametrize("shaping", BACKENDS)
def test_every_byte_of_a_run_with_losses_is_explained(staged, jobs, shaping) -> None:
    played = staged(TREE, shaping).play(spread(jobs), ["edge1", "edge2"])
    entries = prove(TREE, played.carried, played.tallies, played.rows)
    assert len(entries) == 2 * len(TREE.links)
    assert faults(entries) == [] and all(entry.ok for entry in entries)
    for entry in entries:
        parts = entry.ledger_bytes + entry.warm_up_bytes + entry.retransmitted_bytes + entry.overhead_bytes
        assert entry.carried_bytes == parts - entry.lost_bytes + entry.unexplained_bytes
    assert sum(entry.retransmitted_bytes for entry in entries) > 0
    backhaul = next(entry for entry in entries if entry.link == ("ap1", "core") and entry.direction == "up")
    assert backhaul.lost_bytes > 0  # on the links of dev1 and dev2


@pytest.mark.parametrize("shaping", BACKENDS)
def test_what_a_full_queue_drops_is_explained(staged, jobs, shaping) -> None:
    narrow = LinkParameters(4e6, 0.005, queue_bytes=9000)  # less than half a payload, behind a fast link
    links = (ResolvedLink("dev1", "ap1", CLEAN, CLEAN), ResolvedLink("edge1", "ap1", narrow, narrow))
    devices = {"dev1": ResolvedDevice(("ap1",), PACE)}
    edges = {"edge1": ResolvedEdge("ap1", PACE)}
    pair = ResolvedTopology("pair", {"ap1": ResolvedAccessPoint()}, edges, devices, links)
    played = staged(pair, shaping).play(jobs(20, 0.1))
    assert played.carried["edge1", "ap1", "down"].dropped_packets > 0
    entries = prove(pair, played.carried, played.tallies, played.rows)
    assert faults(entries) == [] and all(entry.ok for entry in entries)


def test_traffic_that_is_not_the_runs_is_found_on_every_link_that_it_crosses(staged, jobs) -> None:
    stage = staged(TREE)

    async def flood(start_s: float) -> None:
        await asyncio.sleep(start_s + 0.2 - time.monotonic())
        pid, address = stage.network.namespace_pid("dev2"), stage.network.address("edge1", "dev2")
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", "ping", "-q", "-f", "-c", "200", "-s", "1000", address]
        await asyncio.to_thread(subprocess.run, command, stdout=subprocess.DEVNULL, timeout=60)

    played = stage.play(spread(jobs), ["edge1", "edge2"], meanwhile=flood)
    entries = prove(TREE, played.carried, played.tallies, played.rows)
    found = {(entry.link, entry.direction) for entry in entries if entry.ok is False}
    crossed = {("dev2", "ap1"), ("ap1", "core"), ("edge1", "core")}
    assert found == {(link, direction) for link in crossed for direction in ("up", "down")}
    assert any("dev2-ap1 up: " in line and "are not this run's" in line for line in faults(entries))


def test_what_an_edge_sent_that_died_cannot_be_proven_and_is_no_fault(staged, jobs) -> None:
    played = staged(TREE).play(spread(jobs), ["edge1", "edge2"])
    left = [tally for tally in played.tallies if tally.sender != "edge1"]  # as if its process had died at the end
    entries = prove(TREE, played.carried, left, played.rows)
    assert faults(entries) == []
    untold = {(entry.link, entry.direction) for entry in entries if entry.ok is None}
    device_links = {(("dev1", "ap1"), "down"), (("dev2", "ap1"), "down"), (("dev3", "ap2"), "down")}
    backhauls = {(("ap1", "core"), "down"), (("ap2", "core"), "down")}
    assert untold == {(("edge1", "core"), "up"), *backhauls, *device_links}
    assert all("edge1" in (entry.reason or "") for entry in entries if entry.ok is None)
