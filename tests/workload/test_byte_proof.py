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
from testbed.jobs import ledger
from testbed.jobs.decision import Decision, Kind, Option
from testbed.jobs.job import Job
from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.network.counters import Carried, sent
from testbed.reporting.verdict import BYTES_NOISE
from testbed.runtime.tally import LEAST_BYTES, Tally
from testbed.workload.byte_proof import faults, prove

LINK = LinkParameters(1e7)
STAR = ResolvedTopology(
    name="star",
    access_points={"ap1": ResolvedAccessPoint()},
    edges={"edge1": ResolvedEdge("ap1", Compute(1e9))},
    devices={name: ResolvedDevice(("ap1",), Compute(1e9)) for name in ("dev1", "dev2")},
    links=tuple(ResolvedLink(name, "ap1", LINK, LINK) for name in ("dev1", "dev2", "edge1")),
)
TCP = {
    "warm_up_bytes": 100_000,
    "sent_bytes": 610_000,
    "retransmitted_bytes": 10_000,
    "retransmitted_segments": 7,
    "data_segments": 430,
}
"""500,000 bytes of frames and the warm-up, some of it twice, in 430 segments of which 423 arrived."""


def row(device: str, wire_bytes: int) -> LedgerRow:
    decision = Decision(Option(Kind.FULL, "raw"), "edge1")
    account = {"dispatch_ms": 0.0, "payload_bytes": 0, "label": 0, "attempts": 1}
    return ledger.unanswered(
        Job(0, device, 0, 0.0, 1.0), "full", decision, Outcome.FAILED, "", wire_bytes=wire_bytes, **account
    )


ROWS = [row(name, part) for name in ("dev1", "dev2") for part in (200_000, 300_000)]


def tallies() -> list[Tally]:
    up = [
        Tally(name, "edge1", 500_000, **TCP, header_bytes=430 * 52 + 8, segments=430, received_segments=100)
        for name in ("dev1", "dev2")
    ]
    down = [
        Tally(
            "edge1",
            name,
            4_000,
            40,
            4_040,
            0,
            header_bytes=100 * 52,
            segments=100,
            received_segments=423,
            received_data_segments=423,
        )
        for name in ("dev1", "dev2")
    ]
    return [*up, *down]


def carried() -> dict[tuple[str, str, str], Carried]:
    """What explains those tallies to the byte: each device's link lost seven full packets on the way up."""
    up, down, lost = 610_000 + 430 * 52 + 8, 4_040 + 100 * 52, 7 * 1500
    counts = {}
    for name in ("dev1", "dev2"):
        counts[name, "ap1", "up"] = Carried(up, 430, up - lost, 423, 7)
        counts[name, "ap1", "down"] = Carried(down, 100, down, 100, 0)
    counts["edge1", "ap1", "up"] = Carried(2 * down, 200, 2 * down, 200, 0)
    counts["edge1", "ap1", "down"] = Carried(2 * (up - lost), 846, 2 * (up - lost), 846, 0)
    return counts


def test_a_run_whose_figures_agree_is_explained_to_the_byte() -> None:
    entries = prove(STAR, carried(), tallies(), ROWS)
    assert [entry.unexplained_bytes for entry in entries] == [0] * 6
    assert all(entry.ok for entry in entries) and faults(entries) == []
    by_name = {(entry.link[0], entry.direction): entry for entry in entries}
    assert by_name["dev1", "up"].ledger_bytes == 500_000
    assert by_name["edge1", "down"].ledger_bytes == 1_000_000
    assert by_name["edge1", "down"].lost_bytes == 2 * 7 * 1500


@pytest.mark.parametrize("lie", [-40_000, 40_000])
def test_a_ledger_that_lies_is_found(lie: int) -> None:
    entries = prove(STAR, carried(), tallies(), [*ROWS, row("dev2", lie)])
    wrong = {(*entry.link, entry.direction) for entry in entries if entry.ok is False}
    assert wrong == {("dev2", "ap1", "up"), ("edge1", "ap1", "down")}
    assert {entry.unexplained_bytes for entry in entries if entry.ok is False} == {-lie}


@pytest.mark.parametrize("more, ok", [(BYTES_NOISE, True), (12_000, True), (14_000, False)])
def test_two_percent_may_stay_unexplained(more: int, ok: bool) -> None:
    counts = carried()
    count = counts["dev1", "ap1", "up"]
    counts["dev1", "ap1", "up"] = Carried(
        count.entered_bytes + more, count.entered_packets, count.delivered_bytes + more, count.delivered_packets, 7
    )
    (entry,) = (e for e in prove(STAR, counts, tallies(), ROWS) if (e.link[0], e.direction) == ("dev1", "up"))
    assert (entry.unexplained_bytes, entry.ok) == (more, ok)
    assert entry.share == pytest.approx(more / (count.entered_bytes + more))


def test_what_a_broken_connection_never_sent_is_not_expected() -> None:
    found = tallies()
    found[0].written_bytes += 90_000  # handed to a socket whose connection broke
    entries = prove(STAR, carried(), found, [*ROWS, row("dev1", 90_000)])
    assert faults(entries) == []


def test_packets_that_a_queue_dropped_before_they_were_counted_are_not_expected() -> None:
    counts = carried()
    for key, times in ((("dev1", "ap1", "up"), 1), (("edge1", "ap1", "down"), 1)):
        old, less = counts[key], times * 43 * 1471  # a tenth of the segments, of their mean size
        counts[key] = Carried(
            old.entered_bytes - less,
            old.entered_packets - 43,
            old.delivered_bytes - less,
            old.delivered_packets - 43,
            old.dropped_packets + (43 if key[0] == "dev1" else 0),
        )
    assert faults(prove(STAR, counts, tallies(), ROWS)) == []


def test_what_a_shared_link_lost_is_told_apart_by_bytes_not_by_segments() -> None:
    two = msgspec.structs.replace(
        STAR,
        edges=dict.fromkeys(("edge1", "edge2"), STAR.edges["edge1"]),
        devices={"dev1": STAR.devices["dev1"]},
        links=tuple(ResolvedLink(name, "ap1", LINK, LINK) for name in ("dev1", "edge1", "edge2")),
    )
    lost = {"edge1": 10 * 1500, "edge2": 40 * 352}  # full segments; small frames, of which ten more were sent again
    up = [
        Tally("dev1", "edge1", 0, 99_912, 115_840, 15_928, 80 * 52, 80, data_segments=80, retransmitted_segments=11),
        Tally(
            "dev1", "edge2", 300_000, 0, 315_000, 15_000, 1050 * 52, 1050, data_segments=1050, retransmitted_segments=50
        ),
    ]
    down = [
        Tally(one.receiver, "dev1", received_segments=got, received_data_segments=got)
        for one, got in zip(up, (70, 1010), strict=True)
    ]
    none = Carried(0, 0, 0, 0, 0)
    entered = {one.receiver: one.sent_bytes + one.header_bytes for one in up}
    whole = sum(entered.values())
    counts = {(name, "ap1", way): none for name in ("dev1", "edge1", "edge2") for way in ("up", "down")}
    counts["dev1", "ap1", "up"] = Carried(whole, 1130, whole - sum(lost.values()), 1080, 50)
    for name, segments in (("edge1", 70), ("edge2", 1010)):
        left = entered[name] - lost[name]
        counts[name, "ap1", "down"] = Carried(left, segments, left, segments, 0)
    rows = [msgspec.structs.replace(row("dev1", 300_000), edge="edge2")]
    entries = prove(two, counts, [*up, *down], rows)
    assert faults(entries) == [] and all(abs(entry.unexplained_bytes) <= 1 for entry in entries)


def test_selective_acknowledgements_explain_some_bytes_a_segment_out_of_order() -> None:
    counts, found = carried(), tallies()
    old = counts["dev1", "ap1", "down"]
    counts["dev1", "ap1", "down"] = msgspec.structs.replace(old, entered_bytes=old.entered_bytes + 5000)
    assert len(faults(prove(STAR, counts, found, ROWS))) == 1
    found[2].disordered = 250  # seen by the edge, which acknowledges them to dev1
    assert faults(prove(STAR, counts, found, ROWS)) == []


_INFO = (  # offset, bytes, value
    (100, 4, 7),
    (136, 4, 430),
    (140, 4, 100),
    (152, 4, 90),
    (156, 4, 427),
    (200, 8, 610_000),
    (208, 8, 10_000),
    (224, 4, 3),
)


def test_tcp_info_is_read_by_its_offsets() -> None:
    info = bytearray(LEAST_BYTES)
    info[5] = 1  # timestamps
    for at, size, value in _INFO:
        info[at : at + size] = value.to_bytes(size, "little")
    tally = Tally("dev1", "edge1", written_bytes=500_000, warm_up_bytes=100_000)
    tally.add(bytes(info), accepted=False)
    assert (tally.sent_bytes, tally.retransmitted_bytes, tally.segments) == (610_000, 10_000, 430)
    assert (tally.received_segments, tally.disordered) == (100, 3)
    assert (tally.data_segments, tally.received_data_segments, tally.retransmitted_segments) == (427, 90, 7)
    assert tally.header_bytes == 430 * 52 + 8 and tally.unsent_bytes == 0
    with pytest.raises(ValueError, match=r"Linux 5\.5"):
        tally.add(bytes(info[:200]), accepted=False)


def test_an_interfaces_table_is_read() -> None:
    table = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n"
        "  eth0:    1000      10    0    0    0     0          0         0     2000      20 0 0 0 0 0 0\n"
        "br0: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n"
    )
    assert sent(table) == {"eth0": (2000, 20), "br0": (3, 4)}
