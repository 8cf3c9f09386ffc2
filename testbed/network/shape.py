"""Link parameters as `tc` commands: a pure function, and its inverse for reading back.

Each direction is shaped in two places. At the sending end HTB holds the queue and lets it out at the link's rate; at the
receiving end netem, on an `ifb` that the incoming packets pass, gives every packet its own size over rate, then delay,
jitter and loss. HTB alone never delays a lone packet; netem alone keeps the old schedule of what it holds when the rate
changes. `stab overhead -14` makes both count IP bytes instead of Ethernet frames.
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
    in_flight = link.bandwidth_bps * (link.delay_s + link.jitter_s) / 8 / 28  # packets, were they all as small as can be
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


def sending_differs(qdiscs: list[dict[str, Any]], link: LinkParameters) -> str | None:
    """What a sending interface has (`tc -j qdisc show`) other than it should; None if nothing."""
    kinds = {qdisc["handle"]: qdisc for qdisc in qdiscs}
    for handle, kind in (("1:", "htb"), ("10:", "bfifo")):
        if kinds.get(handle, {}).get("kind") != kind:
            return f"{kind} is missing"
    return None if "limit" not in (options := kinds["10:"].get("options", {})) else _differs(
        "queue", _bytes(options["limit"]), queue_bytes(link), 0
    )


def _bytes(limit: str | int) -> int:
    return int(str(limit).rstrip("b"))


def receiving_differs(qdiscs: list[dict[str, Any]], link: LinkParameters) -> str | None:
    """What an `ifb` has (`tc -j qdisc show`) other than it should; None if nothing."""
    netem = next((qdisc["options"] for qdisc in qdiscs if qdisc["kind"] == "netem"), None)
    if netem is None:
        return "netem is missing"
    delay = netem.get("delay", {})
    return (
        _differs("rate", 8 * netem["rate"]["rate"], link.bandwidth_bps, 8)
        or _differs("delay", delay.get("delay", 0.0), link.delay_s, 1e-6)
        or _differs("jitter", delay.get("jitter", 0.0), link.jitter_s, 1e-6)
        or _differs("loss", netem.get("loss-random", {}).get("loss", 0.0), link.loss, 1e-6)
    )


def _differs(what: str, found: float, asked: float, tolerance: float) -> str | None:
    return None if abs(found - asked) <= tolerance else f"{what} is {found:.9g} where {asked:.9g} was asked"
