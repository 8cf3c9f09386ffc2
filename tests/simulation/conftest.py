"""A small model of a model: two classes of payload, and simulations over any topology with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest

from testbed.documents.resolved import (
    Compute,
    Event,
    LinkParameters,
    PolicySpec,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
)
from testbed.jobs.decision import JPEG, LOCAL, RAW
from testbed.jobs.job import Job
from testbed.jobs.ledger import LedgerRow
from testbed.jobs.profile import Profile, ProfileRow
from testbed.jobs.slot import SlotRow
from testbed.network.event_log import Happened
from testbed.network.record import LinkRows
from testbed.simulation.pace import Sized
from testbed.simulation.run import Simulation

PROFILE = Profile(
    "0" * 64,
    "sample",
    2,
    128,
    1e9,
    (
        ProfileRow(LOCAL, None, 0.8, 0.8, 0, 0, 2e8, 0, 0, 0, 0.2, 0, 0, 0),
        ProfileRow(RAW, None, 0.9, 0.9, 40_000, 40_000, 0, 0, 0, 1e9, 0, 0, 0, 1.0),
        ProfileRow(JPEG, None, 0.9, 0.9, 4_000, 4_000, 0, 1e7, 1e7, 1e9, 0, 0.01, 0.01, 1.0),
    ),
)
PHOTOGRAPHS = {
    (image, option): Sized(payload_bytes, image)
    for image in (0, 1)
    for option, payload_bytes in ((LOCAL, 0), (RAW, 40_000), (JPEG, 4_000))
}


class Outcome(msgspec.Struct):
    """What a simulation leaves."""

    rows: list[LedgerRow]
    links: LinkRows
    slots: list[SlotRow]
    events: list[Happened]


def star(devices: int = 2, bandwidth_bps: float = 10e6, loss: float = 0.0) -> ResolvedTopology:
    """Devices of 5 GFLOP/s and an edge of 200."""
    air, wire = LinkParameters(bandwidth_bps, 0.005, loss=loss), LinkParameters(50e6, 0.0002)
    names = [f"dev{number}" for number in range(1, devices + 1)]
    return ResolvedTopology(
        name="star",
        access_points={"ap1": ResolvedAccessPoint()},
        edges={"edge1": ResolvedEdge("ap1", Compute(2e11))},
        devices={name: ResolvedDevice(("ap1",), Compute(5e9)) for name in names},
        links=(*(ResolvedLink(name, "ap1", air, air) for name in names), ResolvedLink("edge1", "ap1", wire, wire)),
    )


def jobs(topology: ResolvedTopology, count: int, every_s: float = 0.25, deadline_s: float = 0.2) -> list[Job]:
    """So many jobs of each device at equal intervals."""
    names = list(topology.devices)
    return [
        Job(number, names[number % len(names)], number % 2, number // len(names) * every_s, deadline_s)
        for number in range(count * len(names))
    ]


def simulated(
    topology: ResolvedTopology,
    issued: Sequence[Job],
    policy: PolicySpec,
    events: Sequence[Event] = (),
    chained_s: float | None = None,
    seed: int = 1,
) -> Outcome:
    simulation = Simulation(
        topology,
        events,
        policy,
        seed=seed,
        estimate_error=0.0,
        slot_s=0.1,
        deadline_s=0.2,
        jobs=issued,
        drain_s=max(job.arrival_s + job.deadline_s for job in issued) + (chained_s or 0.0),
        chained_s=chained_s,
        profile=PROFILE,
        labels={0: 0, 1: 1},
        photographs=PHOTOGRAPHS,
    )
    for _ in simulation.play(0.5):
        pass
    simulation.end("unanswered when draining ended")
    return Outcome(simulation.take_rows(), simulation.take_links(), simulation.slots, simulation.events)


Simulate = Callable[..., Outcome]


@pytest.fixture
def simulate() -> Simulate:
    return simulated
