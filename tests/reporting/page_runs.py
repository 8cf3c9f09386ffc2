"""Stored runs with all that a page shows: a topology, a channel that varies, a certificate with a miss, events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
    Tolerance,
)
from testbed.jobs.ledger import LedgerRow
from testbed.network.certify import Asked, CertificateEntry
from testbed.network.intervals import Interval
from testbed.network.measures import Measured
from testbed.network.record import LinkRows
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.summary import summarise
from testbed.reporting.verdict import Evidence

DURATION_S = 4.0
RADIO = LinkParameters(10e6, 0.005, 0.001, 0.005)
CABLE = LinkParameters(50e6, 0.0002)


def topology(devices: int = 3) -> ResolvedTopology:
    """Devices and an edge around one access point."""
    names = [f"dev{number}" for number in range(1, devices + 1)]
    return ResolvedTopology(
        name="star",
        access_points={"ap1": ResolvedAccessPoint()},
        edges={"edge1": ResolvedEdge("ap1", Compute(200e9))},
        devices={name: ResolvedDevice(("ap1",), Compute(5e9)) for name in names},
        links=(
            *(ResolvedLink(name, "ap1", RADIO, RADIO) for name in names),
            ResolvedLink("edge1", "ap1", CABLE, CABLE),
        ),
    )


def channel(of: ResolvedTopology) -> LinkRows:
    """All links as found, then dev1's uplink slowed at 1 s and dev2's cut from 2 s to 2.01 s."""
    rows = LinkRows()
    for link in of.links:
        rows.add(0.0, 0.0, (link.a, link.b), 0, link.up)
        rows.add(0.0, 0.0, (link.a, link.b), 1, link.down)
    rows.add(1.0, 1.001, ("dev1", "ap1"), 0, msgspec.structs.replace(RADIO, bandwidth_bps=250e3))
    rows.add(2.0, 2.001, ("dev2", "ap1"), 0, msgspec.structs.replace(RADIO, loss=1.0))
    rows.add(2.01, 2.011, ("dev2", "ap1"), 0, RADIO)
    return rows


def certificate(of: ResolvedTopology, missed: str | None = None) -> dict[str, object]:
    """Every direction as asked, but for that of one device."""
    entries = []
    for link in of.links:
        for direction, side in (("up", link.up), ("down", link.down)):
            delay_ms, bad = side.delay_s * 1e3, link.a == missed and direction == "up"
            value_ms = delay_ms + (3 if bad else 0)
            entries.append(
                CertificateEntry(
                    (link.a, link.b),
                    direction,
                    Asked(side.bandwidth_bps, delay_ms, side.jitter_s * 1e3, side.loss),
                    Measured(
                        Interval(side.bandwidth_bps, 0.99 * side.bandwidth_bps, 1.01 * side.bandwidth_bps),
                        Interval(value_ms, value_ms - 0.1, value_ms + 0.1),
                        None,
                        None,
                    ),
                    Tolerance(),
                    not bad,
                    f"delay {value_ms:g} ms, asked {delay_ms:g} ms" if bad else None,
                )
            )
    carried = {"link": ["dev1", "ap1"], "direction": "up", "carried_bytes": 4000, "ledger_bytes": 3500, "ok": True}
    return {"before": entries, "after": entries, "bytes": [carried]}


def store(
    folder: Path,
    rows: Sequence[LedgerRow],
    policy: str = "greedy",
    *,
    of: ResolvedTopology | None = None,
    missed: str | None = None,
    reasons: Sequence[str] = (),
    seed: int = 1,
) -> StoredRun:
    """A run that came to its end."""
    of = of or topology()
    run = StoredRun.create(folder, "poor-channel", policy)
    run.append(rows)
    run.append_links(channel(of))
    manifest = {
        "testbed": "0.1.0",
        "topology": msgspec.to_builtins(of),
        "workload": {"name": "poor-channel", "deadline": "200 ms"},
        "policy": {"name": policy, "options": {}},
        "seed": seed,
        "shaping": "relay",
        "events": [{"at_s": 1.0, "applied_s": 1.001, "what": "set dev1-ap1"}],
    }
    summary = summarise(
        policy,
        rows,
        issued=len(rows),
        duration_s=DURATION_S,
        event_times_s=[1.0],
        evidence=Evidence(losses=reasons),
    )
    run.finish(manifest, certificate(of, missed), summary)
    return run
