"""Link parameters as traffic control: pure functions, and their inverse for reading back.

Each direction is shaped in two places. At the sending end HTB holds the queue and lets it out at the link's rate. At
the receiving end two netems follow each other on an `ifb` that the incoming packets pass: the first gives every packet
its own size over rate and then the delay, the second jitter and loss. HTB alone never delays a lone packet; netem alone
keeps the old schedule of what it holds when the rate changes. There are two netems so that a change of rate leaves the
second as it is: setting a netem puts its loss model back into the good state, and would cut every burst of losses
short. A netem with both rate and jitter would moreover, on a busy link, delay all by the most. The second's own rate,
so high that it takes no time, only keeps packets in order.

Where links share the air of their access point, all their directions pass one HTB on an `ifb` there: a class of the
total rate, and below it a class with a queue for each direction, which has its part for certain and may have all. To
have it between the link's own rate and its loss, a port of such an access point is a pair of veths, and the packets
go, of devices named after PORT,

    up    out-PORT (coming) -> in-PORT (going) -> air -> in-PORT, whose root is the two netems -> PORT -> the bridge
    down  the bridge -> PORT (going) -> out-PORT (going) -> air -> out-PORT -> the device

for an `ifb` sends on what it has let out by the device from which it came. So the air is used by what is lost
later too; the class of a downward direction is the sending end's HTB as well, held to the link's own rate. The second
netem's rate is then the total, so that a packet on an idle link takes its size over both rates.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

from testbed.documents.resolved import LinkParameters
from testbed.network import rtnetlink
from testbed.network.errors import NetworkError
from testbed.network.rtnetlink import Delay, Loss, Qdisc, Request

BURST_ROOM = 65_536
"""Bytes of queue beyond bandwidth times delay: room for one message's burst."""
ETHERNET = 14
MTU = 1500
AIR = "air"
"""The `ifb` of an access point whose links share its rate."""
SERVE, FLY = 1, 2
"""The two netems' handles: the one that serves at the link's rate and delays, and the one with jitter and loss."""
_AT_ONCE_BPS = 8e15


class Shaping(StrEnum):
    """How links are shaped: by the kernel's netem, or by our relay between TAP devices."""

    NETEM = "netem"
    RELAY = "relay"


class Queue(NamedTuple):
    """A class of HTB and its queue: on which device, under which class, what it has for certain, what it may have."""

    device: str
    minor: int
    parent: int
    rate_bps: float
    ceil_bps: float


def queue_bytes(link: LinkParameters) -> int:
    """The queue of one direction in bytes: what was given, else bandwidth times delay and room for a burst."""
    if link.queue_bytes is not None:
        return link.queue_bytes
    return math.ceil(link.bandwidth_bps * link.delay_s / 8) + BURST_ROOM


def htb_burst(rate_bps: float) -> int:
    """Bytes that HTB may let out at once: one packet, or what the rate carries in 5 ms, so that a timer that is late by
    so much costs no bandwidth; netem spaces them out again."""
    return max(1600, math.ceil(rate_bps * 0.005 / 8))


def incoming(interface: str) -> str:
    """The name of the device at whose root an interface's incoming packets are delayed."""
    return f"in-{interface}"


def outgoing(port: str) -> str:
    """The name of the device by which the packets of a port that shares its access point's air go out and come in."""
    return f"out-{port}"


def own_queue(interface: str, link: LinkParameters) -> Queue:
    """The queue at a sending end that shares nothing."""
    return Queue(interface, 1, 0, link.bandwidth_bps, link.bandwidth_bps)


def air_queue(number: int, *, up: bool, link: LinkParameters, total_bps: float, links: int) -> Queue:
    """The queue in the air of one direction of link NUMBER, one of so many links. Downwards it is the only one, and
    held to the link's own rate."""
    most = total_bps if up else min(total_bps, link.bandwidth_bps)
    return Queue(AIR, 2 * number + (2 if up else 3), 1, min(total_bps / (2 * links), most), most)


def queueing(index: int, queue: Queue, link: LinkParameters, *, new: bool) -> list[Request]:
    """Makes a queue, or changes it in place: it keeps what it holds."""
    burst = htb_burst(queue.ceil_bps)
    return [
        rtnetlink.htb_class(
            index,
            queue.minor,
            queue.rate_bps,
            queue.ceil_bps,
            burst,
            MTU + ETHERNET,
            parent=queue.parent,
            new=new,
        ),
        rtnetlink.bfifo(index, queue.minor, queue_bytes(link), new=new),
    ]


def air(index: int, total_bps: float) -> list[Request]:
    """Makes the class that all queues in the air share."""
    burst = htb_burst(total_bps)
    return [
        rtnetlink.htb_root(index),
        rtnetlink.htb_class(index, 1, total_bps, total_bps, burst, MTU + ETHERNET, new=True),
    ]


def jitter_delay(link: LinkParameters) -> float:
    """Which part of the delay, in seconds, goes with the jitter, which is plus or minus."""
    return min(link.jitter_s, link.delay_s)


def serving(index: int, link: LinkParameters, *, new: bool) -> Request:
    """The netem that gives each packet its size over the rate, and the delay that all have."""
    delay = Delay(link.bandwidth_bps, link.delay_s - jitter_delay(link))
    return rtnetlink.netem(index, SERVE, rtnetlink.ROOT, delay, new=new)


def flying(index: int, link: LinkParameters, total_bps: float | None, *, new: bool) -> Request:
    """The netem with jitter and loss, and in a shared air its rate.

    Raises:
        NetworkError: losses cannot be as asked.
    """
    delay = Delay(total_bps or _AT_ONCE_BPS, jitter_delay(link), link.jitter_s, _loss(link))
    return rtnetlink.netem(index, FLY, SERVE << 16 | 1, delay, new=new)


def _loss(link: LinkParameters) -> float | Loss:
    """Losses on their own, or in bursts: E. N. Gilbert, Capacity of a burst-noise channel, Bell System Technical
    Journal 39 (1960), with no loss in the good state and nothing but loss in the bad one. Each packet finds the state
    in which the last one left it, so that a burst lasts 1/r packets on average and p / (p + r) of all are lost."""
    if link.burst is None or link.loss == 0.0:
        return float(link.loss)
    most = link.burst / (link.burst + 1)
    if not (link.burst >= 1.0 and 0.0 < link.loss <= most):
        raise NetworkError(
            f"a loss of {link.loss:.6g} in bursts of {link.burst:g} packets is out of range:"
            f" bursts of 1 packet and more, and a loss of at most {most:.6g} are allowed"
        )
    return Loss(min(link.loss / (link.burst * (1.0 - link.loss)), 1.0), 1.0 / link.burst)  # may round to more


def read_back(queue: Qdisc | None, serve: Qdisc | None, fly: Qdisc | None) -> LinkParameters | None:
    """The parameters of a direction, from its queue and its two netems; None if it is not shaped. The kernel keeps
    rates in bytes per second, so they may be up to 8 bit/s low."""
    if queue is None or serve is None or fly is None:
        return None
    if (queue.kind, serve.kind, fly.kind) != ("bfifo", "netem", "netem"):
        return None
    served, flown = rtnetlink.netem_told(serve.options), rtnetlink.netem_told(fly.options)
    model = flown.loss
    loss, burst = (model.p / (model.p + model.r), 1.0 / model.r) if isinstance(model, Loss) else (model, None)
    queue_bytes = rtnetlink.bfifo_told(queue.options)
    return LinkParameters(
        served.rate_bps, served.delay_s + flown.delay_s, flown.jitter_s, loss, queue_bytes=queue_bytes, burst=burst
    )


def difference(found: LinkParameters, asked: LinkParameters) -> str | None:
    """In what a direction read back differs from what was asked, beyond rounding; None if in nothing."""
    for what, has, should, rounding in (
        ("rate", found.bandwidth_bps, asked.bandwidth_bps, 8.0),
        ("delay", found.delay_s, asked.delay_s, 1e-6),
        ("jitter", found.jitter_s, asked.jitter_s, 1e-6),
        ("loss", found.loss, asked.loss, 1e-6),
        ("burst", found.burst or 0.0, (asked.burst if asked.loss else None) or 0.0, 1e-4),
        ("queue", found.queue_bytes or 0, queue_bytes(asked), 0.0),
    ):
        if abs(has - should) > rounding:
            return f"{what} is {has:.9g} where {should:.9g} was asked"
    return None
