"""Link parameters to tc commands and back, without touching a kernel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.documents.resolved import LinkParameters
from testbed.network import shape

LINK = LinkParameters(bandwidth_bps=10e6, delay_s=0.005, jitter_s=0.001, loss=0.005)


def test_sending_end_holds_the_queue_and_paces() -> None:
    assert shape.sending("eth0", LINK) == [
        "qdisc add dev eth0 root handle 1: stab overhead -14 linklayer ethernet htb default 1",
        "class add dev eth0 parent 1: classid 1:1 htb rate 10000000bit burst 6250 cburst 6250 quantum 1514",
        "qdisc add dev eth0 parent 1:1 handle 10: bfifo limit 71786",
    ]


def test_receiving_end_serialises_delays_and_loses() -> None:
    netem, ingress, redirect = shape.receiving("eth0", LINK)
    assert netem == (
        "qdisc add dev in-eth0 root handle 1: stab overhead -14 linklayer ethernet"
        " netem limit 1268 rate 10000000bit delay 5000.000us 1000.000us loss random 0.5%"
    )
    assert ingress == "qdisc add dev eth0 handle ffff: ingress"
    assert redirect.endswith("action mirred egress redirect dev in-eth0")


def test_what_is_zero_is_left_out() -> None:
    assert shape.receiving("eth0", LinkParameters(1e6))[0].endswith("rate 1000000bit")


def test_changes_never_delete_or_add() -> None:
    commands = shape.sending_changed("eth0", LINK) + shape.receiving_changed("eth0", LINK)
    assert [command.split()[1] for command in commands] == ["change"] * 3
    assert "stab overhead -14" in commands[2]  # without it the kernel would count Ethernet bytes from now on


def test_queue_is_what_was_given_or_bandwidth_times_delay_and_a_burst() -> None:
    assert shape.queue_bytes(LinkParameters(8e6, 0.1)) == 100_000 + 65_536
    assert shape.queue_bytes(LinkParameters(8e6, 0.1, queue_bytes=3000)) == 3000


@given(bandwidth_bps=st.floats(1e3, 1e10), delay_s=st.floats(0, 10), jitter_s=st.floats(0, 1))
def test_netem_never_drops_for_want_of_room(bandwidth_bps: float, delay_s: float, jitter_s: float) -> None:
    words = shape.receiving("eth0", LinkParameters(bandwidth_bps, delay_s, jitter_s))[0].split()
    smallest_packets_in_flight = bandwidth_bps * (delay_s + jitter_s) / 8 / 28
    assert int(words[words.index("limit") + 1]) > smallest_packets_in_flight


def as_the_kernel_tells(link: LinkParameters) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    sending: list[dict[str, object]] = [
        {"kind": "htb", "handle": "1:", "options": {}},
        {"kind": "bfifo", "handle": "10:", "options": {"limit": f"{shape.queue_bytes(link)}b"}},
    ]
    options = {
        "rate": {"rate": int(link.bandwidth_bps) // 8},
        "delay": {"delay": link.delay_s, "jitter": link.jitter_s, "correlation": 0},
        "loss-random": {"loss": link.loss, "correlation": 0},
    }
    return sending, [{"kind": "netem", "handle": "1:", "options": options}]


def test_what_was_asked_is_read_back_as_such() -> None:
    found = shape.read_back(*as_the_kernel_tells(LINK))
    assert found is not None
    assert shape.difference(found, LINK) is None


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (LinkParameters(9e6, 0.005, 0.001, 0.005, 71786), "rate"),
        (LinkParameters(10e6, 0.004, 0.001, 0.005, 71786), "delay"),
        (LinkParameters(10e6, 0.005, 0.002, 0.005), "jitter"),
        (LinkParameters(10e6, 0.005, 0.001, 0.05), "loss"),
        (LinkParameters(10e6, 0.005, 0.001, 0.005, 1000), "queue"),
    ],
)
def test_what_differs_is_named(other: LinkParameters, what: str) -> None:
    found = shape.read_back(*as_the_kernel_tells(other))
    assert found is not None
    assert str(shape.difference(found, LINK)).startswith(what)


def test_an_interface_without_netem_is_not_shaped() -> None:
    sending, _ = as_the_kernel_tells(LINK)
    assert shape.read_back(sending, [{"kind": "pfifo_fast", "options": {}}]) is None
