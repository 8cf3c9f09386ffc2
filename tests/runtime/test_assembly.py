"""A testbed's actors over its real network, driven as a run drives them."""

import time
from collections.abc import Iterator
from pathlib import Path

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
from testbed.jobs.decision import Kind, OperatingPoint, Option
from testbed.jobs.job import Job
from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.network.shape import Shaping
from testbed.runtime import payload_store
from testbed.runtime.lifecycle import Running, brought_up
from testbed.runtime.run_spec import RunSpec

pytestmark = pytest.mark.root

RATE_BPS, DELAY_S = 10e6, 0.005
IMAGES = range(8)


def run(running: Running, policy: str, options: dict[str, object]) -> list[LedgerRow]:
    """Twenty jobs, each alone on the link."""
    from testbed.aecnn.loading import load_model
    from testbed.aecnn.photographs import open_photographs

    model, photographs = load_model(), open_photographs("sample")
    choosable = tuple(model.profile.considered().by_option)
    folder = payload_store.folder_for(model.fingerprint, "sample", choosable)
    if missing := payload_store.missing(folder, IMAGES):
        payload_store.prepare(folder, "default", "onnx", "sample", missing, lambda _: None, choosable)
    jobs = tuple(Job(number, "dev1", IMAGES[number % len(IMAGES)], 0.15 * number, 1.0) for number in range(20))
    spec = RunSpec(
        topology=running.topology,
        nodes=running.assembly.nodes,
        checkpoint="default",
        images="sample",
        store=str(folder),
        choosable=choosable,
        profile=model.profile,
        labels={image: photographs.label(image) for image in IMAGES},
        policy=policy,
        options=options,
        estimate_error=0.0,
        search_path=(),
        seed=1,
        jobs=jobs,
        drain_s=jobs[-1].arrival_s + 5,
    )
    running.assembly.prepare(spec)
    running.assembly.start((), 1, 0.3)
    rows, finished = [], False
    while not finished:
        time.sleep(0.2)
        more, finished = running.assembly.collect()
        rows += more
    rows += running.assembly.finish().rows
    return sorted(rows, key=lambda row: row.job_id)


def carried_up(running: Running) -> int:
    """IP bytes that the device's link has carried away from it."""
    return running.assembly.counters()["dev1", "ap1", "up"][0]


def loopback_bytes() -> int:
    """What this machine's own loopback has carried: Ray's traffic, above all."""
    (line,) = (line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[0])


def topology(device: Compute, edge: Compute) -> ResolvedTopology:
    return ResolvedTopology(
        name="assembly-test",
        access_points={"ap1": ResolvedAccessPoint()},
        edges={"edge1": ResolvedEdge("ap1", edge)},
        devices={"dev1": ResolvedDevice(("ap1",), device)},
        links=(
            ResolvedLink("dev1", "ap1", LinkParameters(RATE_BPS, DELAY_S), LinkParameters(RATE_BPS, DELAY_S)),
            ResolvedLink("edge1", "ap1", LinkParameters(100e6), LinkParameters(100e6)),
        ),
    )


PACED, LIVE = topology(Compute(50e9), Compute(200e9)), topology(Compute(), Compute())
paced = pytest.mark.parametrize("running", [PACED], indirect=True, ids=["paced"])
paced_and_live = pytest.mark.parametrize("running", [PACED, LIVE], indirect=True, ids=["paced", "live"])


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    with brought_up(request.param, Shaping.RELAY, keep=False, tell=lambda _: None) as running:
        yield running


@paced
def test_payloads_cross_the_link_and_ray_does_not(running: Running) -> None:
    link, loopback = carried_up(running), loopback_bytes()
    rows = run(running, "full", {"encoding": "raw"})
    link, loopback = carried_up(running) - link, loopback_bytes() - loopback
    assert [row.outcome for row in rows] == [Outcome.ON_TIME] * 20
    warm_up, wire = 96 * 2**10, sum(row.wire_bytes for row in rows)
    assert wire > 20 * 128 * 128 * 3
    # Every byte crossed, and beside it nothing but TCP's headers and acknowledgements.
    assert wire + warm_up < link < 1.06 * (wire + warm_up) + 10_000
    assert loopback > 20_000  # Ray told everybody of the run, and took the ledger back


@paced
def test_a_payload_takes_no_less_than_the_link_allows(running: Running) -> None:
    for policy, options in (
        ("full", {"encoding": "raw"}),
        ("full", {"encoding": "jpeg"}),
        ("fixed", {"split": "layer3", "kept_channels": 16, "bits": 4}),
    ):
        for row in run(running, policy, options):
            assert row.outcome is Outcome.ON_TIME
            assert row.uplink_ms >= 1e3 * (8 * row.payload_bytes / RATE_BPS + DELAY_S) - 0.05
            assert row.downlink_ms >= 1e3 * DELAY_S - 0.05


@paced_and_live
def test_predictions_are_the_models(running: Running) -> None:
    import torch

    from testbed.aecnn.loading import load_model
    from testbed.aecnn.photographs import open_photographs

    torch.set_num_threads(1)  # as the nodes do: another number may round a symbol the other way
    model, photographs = load_model(), open_photographs("sample")
    rows = run(running, "fixed", {"split": "layer3", "kept_channels": 16, "bits": 4})
    option = Option(Kind.SPLIT, "aecnn", OperatingPoint("layer3", 16, 4))
    answered = [row for row in rows if row.completion_ms]
    assert len(answered) > 10
    for row in answered:
        payload = model.encode(model.head(photographs.pixels(row.image), option), option, row.image)
        assert row.payload_bytes == len(payload)
        assert row.predicted == model.tail(model.decode(payload, option, row.image), option)
        assert row.label == photographs.label(row.image)
