"""Link parameters to traffic control and back, without touching a kernel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.documents.resolved import LinkParameters
from testbed.network import rtnetlink, shape
from testbed.network.errors import NetworkError
from testbed.network.rtnetlink import Loss, Qdisc, Request, attributes, netem_told

LINK = LinkParameters(bandwidth_bps=10e6, delay_s=0.005, jitter_s=0.001, loss=0.005)


def options(request: Request) -> bytes:
    """What a request says of the kind that it names."""
    return attributes(request.body[20:])[2]


def as_the_kernel_tells(link: LinkParameters, total_bps: float | None = None) -> tuple[Qdisc, Qdisc, Qdisc]:
    """A kernel tells options in the words in which it is told them."""
    queue = shape.queueing(1, shape.own_queue("eth0", link), link, new=True)[1]
    told = (("bfifo", queue), ("netem", shape.serving(2, link, new=True)))
    flying = shape.flying(2, link, total_bps, new=True)
    found = [Qdisc(kind, 0, 0, options(request), 0, 0, 0) for kind, request in (*told, ("netem", flying))]
    return found[0], found[1], found[2]


def test_a_class_has_rates_in_bytes_and_buffers_in_ticks() -> None:
    request, _ = shape.queueing(7, shape.own_queue("eth0", LINK), LINK, new=True)
    words = attributes(options(request))[1]
    rate, ceil = (int.from_bytes(words[at : at + 4], "little") for at in (8, 20))
    buffer, cbuffer, quantum = (int.from_bytes(words[at : at + 4], "little") for at in (24, 28, 32))
    assert (rate, ceil, quantum) == (1_250_000, 1_250_000, 1514)
    assert buffer == cbuffer == 5_000_000 // 64  # 5 ms, in ticks of 64 ns


def test_the_first_netem_serves_and_delays_and_the_second_has_jitter_and_loss() -> None:
    _, serve, fly = (netem_told(one.options) if one.kind == "netem" else None for one in as_the_kernel_tells(LINK))
    assert serve is not None and fly is not None
    assert serve == rtnetlink.Delay(10e6, 0.004)
    assert (fly.delay_s, fly.jitter_s) == (0.001, 0.001)  # 4 ms, and 0 to 2
    assert fly.loss == pytest.approx(0.005)
    assert fly.rate_bps > 1e14  # to keep the order, not to serve


def test_changes_never_delete_or_add() -> None:
    queue = shape.own_queue("eth0", LINK)
    changes = [*shape.queueing(1, queue, LINK, new=False), shape.serving(2, LINK, new=False)]
    changes.append(shape.flying(2, LINK, None, new=False))
    assert {request.kind for request in changes} == {rtnetlink.QDISC, rtnetlink.CLASS}
    assert {request.flags for request in changes} == {0}
    assert 8 in attributes(changes[2].body[20:])  # without its size table the kernel would count frames from now on


def test_queue_is_what_was_given_or_bandwidth_times_delay_and_a_burst() -> None:
    assert shape.queue_bytes(LinkParameters(8e6, 0.1)) == 100_000 + 65_536
    assert shape.queue_bytes(LinkParameters(8e6, 0.1, queue_bytes=3000)) == 3000


@given(loss=st.floats(0.001, 0.5), burst=st.floats(1, 50))
def test_a_loss_model_has_the_mean_and_the_burst_that_were_asked(loss: float, burst: float) -> None:
    link = LinkParameters(1e6, loss=loss, burst=burst)
    model = netem_told(as_the_kernel_tells(link)[2].options).loss
    assert isinstance(model, Loss)
    assert model.p / (model.p + model.r) == pytest.approx(loss, abs=1e-6)  # the part of the time that is bad
    assert 1 / model.r == pytest.approx(burst, rel=1e-6)  # how long it stays so


@pytest.mark.parametrize(("loss", "burst"), [(0.6, 1.0), (0.1, 0.5), (1.0, 5.0)])
def test_losses_that_cannot_be_are_refused(loss: float, burst: float) -> None:
    with pytest.raises(NetworkError, match="out of range"):
        shape.flying(1, LinkParameters(1e6, loss=loss, burst=burst), None, new=True)


@pytest.mark.parametrize("loss", [-0.1, 1.1])
def test_a_probability_that_is_none_is_refused(loss: float) -> None:
    with pytest.raises(NetworkError, match="out of range"):
        shape.flying(1, LinkParameters(1e6, loss=loss), None, new=True)


def test_queues_in_the_air_have_their_part_and_may_have_all() -> None:
    up = shape.air_queue(3, up=True, link=LINK, total_bps=40e6, links=4)
    down = shape.air_queue(3, up=False, link=LINK, total_bps=40e6, links=4)
    assert (up.rate_bps, up.ceil_bps) == (5e6, 40e6)
    assert (down.rate_bps, down.ceil_bps) == (5e6, 10e6)  # nothing else holds it to the link's rate
    assert up.minor != down.minor


@pytest.mark.parametrize("total_bps", [None, 30e6])
@pytest.mark.parametrize("burst", [None, 4.0])
def test_what_was_asked_is_read_back_as_such(burst: float | None, total_bps: float | None) -> None:
    link = LinkParameters(10e6, 0.005, 0.001, 0.005, burst=burst)
    found = shape.read_back(*as_the_kernel_tells(link, total_bps))
    assert found is not None
    assert shape.difference(found, link) is None


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (LinkParameters(9e6, 0.005, 0.001, 0.005, 71786), "rate"),
        (LinkParameters(10e6, 0.004, 0.001, 0.005, 71786), "delay"),
        (LinkParameters(10e6, 0.005, 0.002, 0.005), "jitter"),
        (LinkParameters(10e6, 0.005, 0.001, 0.05), "loss"),
        (LinkParameters(10e6, 0.005, 0.001, 0.005, burst=3.0), "burst"),
        (LinkParameters(10e6, 0.005, 0.001, 0.005, 1000), "queue"),
    ],
)
def test_what_differs_is_named(other: LinkParameters, what: str) -> None:
    found = shape.read_back(*as_the_kernel_tells(other))
    assert found is not None
    assert str(shape.difference(found, LINK)).startswith(what)


def test_an_interface_without_netem_is_not_shaped() -> None:
    queue, serve, _ = as_the_kernel_tells(LINK)
    assert shape.read_back(queue, serve, None) is None
    assert shape.read_back(queue, Qdisc("pfifo_fast", 0, 0, b"", 0, 0, 0), serve) is None
