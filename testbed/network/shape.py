"""Link parameters as `tc` commands: a pure function, and its inverse for reading back.

Each direction is shaped in two places. At the sending end HTB holds the queue and lets it out at the link's rate; at
the receiving end netem, on an `ifb` that the incoming packets pass, gives every packet its own size over rate, then
delay, jitter and loss. HTB alone never delays a lone packet; netem alone keeps the old schedule of what it holds when
the rate changes. `stab overhead -14` makes both count IP bytes instead of Ethernet frames.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

from testbed.documents.resolved import LinkParameters

BURST_ROOM = 65_536
"""Bytes of queue beyond bandwidth times delay: room for one message's burst."""
ETHERNET = 14
MTU = 1500
_IP_SIZES = f"stab overhead -{ETHERNET} linklayer ethernet"


class Shaping(StrEnum):
    """How links are shaped: by the kernel's netem, or by our relay between TAP devices."""

    NETEM = "netem"
    RELAY = "relay"


def queue_bytes(link: LinkParameters) -> int:
    """The queue of one direction in bytes: what was given, else bandwidth times delay and room for a burst."""
    if link.queue_bytes is not None:
        return link.queue_bytes
    return math.ceil(link.bandwidth_bps * link.delay_s / 8) + BURST_ROOM


def htb_burst(link: LinkParameters) -> int:
    """Bytes that HTB may let out at once: one packet, or what the link carries in 5 ms, so that a timer that is late by
    so much costs no bandwidth; netem spaces them out again."""
    return max(1600, math.ceil(link.bandwidth_bps * 0.005 / 8))


def _htb_class(link: LinkParameters) -> str:
    burst = htb_burst(link)
    return f"htb rate {round(link.bandwidth_bps)}bit burst {burst} cburst {burst} quantum {MTU + ETHERNET}"


def _netem(link: LinkParameters) -> str:
    in_flight = (
        link.bandwidth_bps * (link.delay_s + link.jitter_s) / 8 / 28
    )  # packets, were they all as small as can be
    words = f"netem limit {math.ceil(in_flight) + 1000} rate {round(link.bandwidth_bps)}bit"
    words += f" delay {link.delay_s * 1e6:.3f}us {link.jitter_s * 1e6:.3f}us" if link.delay_s or link.jitter_s else ""
    return words + (f" loss random {link.loss * 100:.9g}%" if link.loss else "")


def incoming(interface: str) -> str:
    """The name of the `ifb` through which an interface's incoming packets pass."""
    return f"in-{interface}"


def sending(interface: str, link: LinkParameters) -> list[str]:
    """The `tc` commands that shape what an interface sends."""
    return [
        f"qdisc add dev {interface} root handle 1: {_IP_SIZES} htb default 1",
        f"class add dev {interface} parent 1: classid 1:1 {_htb_class(link)}",
        f"qdisc add dev {interface} parent 1:1 handle 10: bfifo limit {queue_bytes(link)}",
    ]


def receiving(interface: str, link: LinkParameters) -> list[str]:
    """The `tc` commands that shape what an interface receives; its `ifb` must exist and be up."""
    return [
        f"qdisc add dev {incoming(interface)} root handle 1: {_IP_SIZES} {_netem(link)}",
        f"qdisc add dev {interface} handle ffff: ingress",
        f"filter add dev {interface} parent ffff: protocol all prio 1 u32 match u32 0 0"
        f" action mirred egress redirect dev {incoming(interface)}",
    ]


def sending_changed(interface: str, link: LinkParameters) -> list[str]:
    """The commands that change a sending end in place: the queue keeps what it holds."""
    return [
        f"class change dev {interface} parent 1: classid 1:1 {_htb_class(link)}",
        f"qdisc change dev {interface} parent 1:1 handle 10: bfifo limit {queue_bytes(link)}",
    ]


def receiving_changed(interface: str, link: LinkParameters) -> list[str]:
    """The commands that change a receiving end in place: what is under way arrives as it would have."""
    return [f"qdisc change dev {incoming(interface)} root handle 1: {_IP_SIZES} {_netem(link)}"]


def read_back(sending_qdiscs: list[dict[str, Any]], ifb_qdiscs: list[dict[str, Any]]) -> LinkParameters | None:
    """The parameters of a direction, from `tc -j qdisc show` of its sending interface and of its `ifb`; None if it is
    not shaped. The kernel keeps rates in bytes per second, so they may be up to 8 bit/s low."""
    queue = next((qdisc["options"] for qdisc in sending_qdiscs if qdisc["kind"] == "bfifo"), None)
    netem = next((qdisc["options"] for qdisc in ifb_qdiscs if qdisc["kind"] == "netem"), None)
    if queue is None or netem is None or not any(qdisc["kind"] == "htb" for qdisc in sending_qdiscs):
        return None
    delay = netem.get("delay", {})
    return LinkParameters(
        bandwidth_bps=8.0 * netem["rate"]["rate"],
        delay_s=delay.get("delay", 0.0),
        jitter_s=delay.get("jitter", 0.0),
        loss=netem.get("loss-random", {}).get("loss", 0.0),
        queue_bytes=int(str(queue["limit"]).rstrip("b")),
    )


def difference(found: LinkParameters, asked: LinkParameters) -> str | None:
    """In what a direction read back differs from what was asked, beyond rounding; None if in nothing."""
    for what, has, should, rounding in (
        ("rate", found.bandwidth_bps, asked.bandwidth_bps, 8.0),
        ("delay", found.delay_s, asked.delay_s, 1e-6),
        ("jitter", found.jitter_s, asked.jitter_s, 1e-6),
        ("loss", found.loss, asked.loss, 1e-6),
        ("queue", found.queue_bytes or 0, queue_bytes(asked), 0.0),
    ):
        if abs(has - should) > rounding:
            return f"{what} is {has:.9g} where {should:.9g} was asked"
    return None
