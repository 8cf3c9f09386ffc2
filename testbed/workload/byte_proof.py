"""The byte proof: what every direction of every link carried during a run, against what the run can explain.

Explained is what the ledger says was written (at the edges: the answers), warm-ups, what TCP sent again, and the
headers of every segment that TCP counted, acknowledgements and handshakes included; less what was lost before. What
else crosses a link was not the run's, or the ledger is wrong.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from testbed.documents.resolved import ResolvedTopology
from testbed.jobs.ledger import LedgerRow
from testbed.network.counters import Carried, Direction
from testbed.offloading.prediction import HEADER_BYTES
from testbed.reporting.verdict import BYTES_NOISE, BYTES_TOLERANCE
from testbed.runtime import paths
from testbed.runtime.paths import Hop
from testbed.runtime.tally import Tally
from testbed.workload.losses import apportioned

_DIRECTIONS: tuple[paths.Direction, ...] = ("up", "down")
_SELECTIVE_BYTES = 28
"""A selective acknowledgement's most, three blocks. The kernel counts the segments that may have called for one, no
bytes: between none and so much for each of them is explained."""


class LinkBytes(msgspec.Struct, frozen=True):
    """One direction of one link. All are bytes of the IP layer; `carried` is the sum of all others, less `lost`."""

    link: tuple[str, str]
    direction: str
    carried_bytes: int  # by the sending interface's counters
    ledger_bytes: int  # frames of jobs or answers, less what broken connections never sent
    warm_up_bytes: int
    retransmitted_bytes: int
    overhead_bytes: int  # headers, acknowledgements, handshakes
    lost_bytes: int  # of all these, lost before they came here
    unexplained_bytes: int  # negative: explained, and not carried
    share: float  # the unexplained of the carried
    ok: bool | None  # None: cannot be told
    reason: str | None


class _Flow(msgspec.Struct, frozen=True):
    """What one node sent to another, and over which way. The tallies of a process that died are missing."""

    sender: str
    way: tuple[Hop, ...]
    sent: Tally | None
    back: Tally | None
    ledger_bytes: int


def prove(
    topology: ResolvedTopology,
    carried: Mapping[Direction, Carried],
    tallies: Iterable[Tally],
    rows: Iterable[LedgerRow],
) -> list[LinkBytes]:
    """Hold the interfaces' counters against the ledger.

    Args:
        topology: whose links and ways.
        carried: what each direction carried, from before the first connection was opened until the last one had ended.
        tallies: what every device sent to every edge in its reach, and every edge to every such device. One that is
            missing belonged to a process that died: the links on its way cannot be proven.
        rows: the whole ledger.
    """
    hops = [Hop(number, direction) for number in range(len(topology.links)) for direction in _DIRECTIONS]
    over: dict[Hop, list[_Flow]] = {hop: [] for hop in hops}
    lost_before = dict.fromkeys(hops, 0.0)
    flows = _flows(topology, tallies, rows)
    for flow in flows:
        for hop in flow.way:
            over[hop].append(flow)
    counted = {hop: carried[(*_link(topology, hop), hop.direction)] for hop in hops}
    lost_here = {hop: _lost_here(counted[hop], over[hop]) for hop in hops}
    lost = apportioned([flow.way for flow in flows], [*map(_sent, flows)], [*map(_lost, flows)], lost_here)
    for flow, parts in zip(flows, lost, strict=True):
        for hop, so_far in zip(flow.way, itertools.accumulate(parts, initial=0.0), strict=False):
            lost_before[hop] += so_far
    return [_entry(_link(topology, hop), hop.direction, counted[hop], over[hop], lost_before[hop]) for hop in hops]


def faults(entries: Iterable[LinkBytes]) -> list[str]:
    """Why a run cannot be believed by its byte proof: a reason for each direction that carried something else."""
    return [f"{'-'.join(entry.link)} {entry.direction}: {entry.reason}" for entry in entries if entry.ok is False]


def _flows(topology: ResolvedTopology, tallies: Iterable[Tally], rows: Iterable[LedgerRow]) -> list[_Flow]:
    found = {(tally.sender, tally.receiver): tally for tally in tallies}
    written: Counter[tuple[str, str | None]] = Counter()
    for row in rows:
        written[row.device, row.edge] += row.wire_bytes
    flows = []
    for device in topology.devices:
        for edge in topology.edges:
            if way := paths.path(topology, device, edge):
                up, down = found.get((device, edge)), found.get((edge, device))
                flows.append(_Flow(device, way, up, down, written[device, edge]))
                flows.append(_Flow(edge, paths.reverse(way), down, up, down.written_bytes if down else 0))
    return flows


def _lost_here(counted: Carried, flows: Sequence[_Flow]) -> float:
    """On one direction of a link, in IP bytes."""
    return max(0.0, counted.entered_bytes - counted.delivered_bytes + _queue_bytes(counted, flows))


def _lost(flow: _Flow) -> float | None:
    """By a flow on its whole way, in IP bytes, about: how many segments did not arrive, and how many with a payload, is
    known; payloads count as of the mean size of what TCP sent again, some of which had arrived."""
    sent, back = flow.sent, flow.back
    if not sent or not back:
        return None
    payload_bytes = sent.retransmitted_bytes / max(1, sent.retransmitted_segments)
    lost = max(0, sent.segments - back.received_segments)
    return lost * HEADER_BYTES + max(0, sent.data_segments - back.received_data_segments) * payload_bytes


def _sent(flow: _Flow) -> int:
    return flow.sent.sent_bytes + flow.sent.header_bytes if flow.sent else 0


def _queue_bytes(counted: Carried, flows: Sequence[_Flow]) -> float:
    """What the queue before the sending interface dropped. It counts packets alone: they count as of the mean size."""
    dropped = max(0, counted.dropped_packets - (counted.entered_packets - counted.delivered_packets))
    sent = [flow.sent for flow in flows if flow.sent]
    segments = sum(tally.segments for tally in sent)
    return dropped * sum(tally.sent_bytes + tally.header_bytes for tally in sent) / segments if segments else 0.0


def _entry(
    link: tuple[str, str], direction: str, counted: Carried, flows: Sequence[_Flow], lost_before: float
) -> LinkBytes:
    carried = counted.entered_bytes
    sent = [flow.sent for flow in flows if flow.sent]
    ledger = sum(flow.ledger_bytes - flow.sent.unsent_bytes for flow in flows if flow.sent)
    warm_up = sum(tally.warm_up_bytes for tally in sent)
    again = sum(tally.retransmitted_bytes for tally in sent)
    headers = sum(tally.header_bytes for tally in sent)
    lost = round(lost_before + _queue_bytes(counted, flows))
    left = carried - (ledger + warm_up + again + headers - lost)
    selective = min(max(0, left), _SELECTIVE_BYTES * sum(tally.disordered for tally in sent))
    unexplained = left - selective
    share = abs(unexplained) / max(1, carried)
    ok: bool | None = abs(unexplained) <= max(BYTES_NOISE, BYTES_TOLERANCE * carried)
    reason = None
    if dead := next((flow.sender for flow in flows if flow.sent is None), None):
        ok, reason = None, f"what {dead} sent is not known: its process died"
    elif not ok and unexplained > 0:
        reason = f"{unexplained} of {carried} bytes carried ({share:.1%}) are not this run's"
    elif not ok:
        reason = f"{-unexplained} bytes more are accounted for than the {carried} carried ({share:.1%})"
    return LinkBytes(
        link, direction, carried, ledger, warm_up, again, headers + selective, lost, unexplained, share, ok, reason
    )


def _link(topology: ResolvedTopology, hop: Hop) -> tuple[str, str]:
    return topology.links[hop.link].a, topology.links[hop.link].b
