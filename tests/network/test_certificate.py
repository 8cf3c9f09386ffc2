"""What packets say of a link, from times made up to be right or wrong; and the judgement."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest

from testbed.documents.resolved import LinkParameters
from testbed.network.certify import CertificateEntry, Times, judge, measure
from testbed.network.probing import LONE_SIZE, Probing, plan

ASKED = LinkParameters(10e6, 0.005, 0.001, 0.01)
ALPHA = 1e-4


def times_over(link: LinkParameters, probing: Probing, seed: int = 1) -> Times:
    """When packets would come through a link: queued, served at its rate, delayed, lost."""
    draw = random.Random(seed)
    times = np.zeros((probing.packets, 2), dtype=np.int64)
    free_s = last_s = 0.0
    for stream in (probing.lone, *probing.trains):
        for number in range(stream.count):
            sent_s = 1.0 + stream.start_s + max(0, number - stream.at_once + 1) * stream.gap_s
            free_s = max(free_s, sent_s) + stream.size * 8 / link.bandwidth_bps
            arrived_s = last_s = max(last_s, free_s + link.delay_s + draw.uniform(-1, 1) * link.jitter_s)
            times[stream.first + number] = sent_s * 1e9, 0 if draw.random() < link.loss else arrived_s * 1e9
    return times


def entry_for(real: LinkParameters, asked: LinkParameters = ASKED) -> CertificateEntry:
    (probing,), _ = plan([asked])
    return judge(("dev1", "ap1"), "up", asked, measure(times_over(real, probing), probing, asked, ALPHA))


def test_a_link_as_asked_holds() -> None:
    entry = entry_for(ASKED)
    assert (entry.ok, entry.reason) == (True, None)
    measured = entry.measured
    assert measured.bandwidth_bps and measured.bandwidth_bps.value == pytest.approx(10e6, rel=0.02)
    assert measured.delay_ms and measured.delay_ms.value == pytest.approx(5, abs=0.2)
    assert measured.jitter_ms and measured.jitter_ms.low <= 1 <= measured.jitter_ms.high
    assert measured.loss and measured.loss.low <= 0.01 <= measured.loss.high


@pytest.mark.parametrize(
    ("real", "what"),
    [
        (LinkParameters(9.5e6, 0.005, 0.001, 0.01), "bandwidth"),
        (LinkParameters(10.6e6, 0.005, 0.001, 0.01), "bandwidth"),
        (LinkParameters(10e6, 0.006, 0.001, 0.01), "delay"),
        (LinkParameters(10e6, 0.010, 0.001, 0.01), "delay"),  # the round trip taken for one way
        (LinkParameters(10e6, 0.005, 0.001, 0.08), "loss"),
        (LinkParameters(10e6, 0.005, 0.001, 0.0), None),  # so few packets cannot tell
    ],
)
def test_a_link_that_differs_is_found_out(real: LinkParameters, what: str | None) -> None:
    entry = entry_for(real)
    assert entry.ok is (what is None)
    assert what is None or str(entry.reason).startswith(what)


def test_lost_packets_do_not_pass_for_a_slow_link() -> None:
    lossy = LinkParameters(10e6, 0.005, 0.0, 0.3)
    entry = entry_for(lossy, lossy)
    assert entry.ok and entry.measured.bandwidth_bps
    assert entry.measured.bandwidth_bps.value == pytest.approx(10e6, rel=0.01)


def test_a_lone_packets_own_serialisation_is_not_delay() -> None:
    slow = LinkParameters(0.1e6, 0.005)
    entry = entry_for(slow, slow)
    assert LONE_SIZE * 8 / slow.bandwidth_bps > 0.003
    assert entry.ok and entry.measured.delay_ms and entry.measured.delay_ms.value == pytest.approx(5, abs=0.01)


def test_a_cut_link_has_no_measures_but_its_loss() -> None:
    entry = entry_for(LinkParameters(10e6, 0.005, 0, 1.0))
    assert not entry.ok
    assert entry.measured.bandwidth_bps is None and entry.measured.delay_ms is None
    assert entry.measured.loss and entry.measured.loss.value == 1.0
    assert "could not be measured" in str(entry.reason)


def test_a_queue_too_small_for_a_train_leaves_bandwidth_null_with_a_reason() -> None:
    tiny = LinkParameters(10e6, 0.005, queue_bytes=300)
    entry = entry_for(tiny, tiny)
    assert entry.ok and entry.measured.bandwidth_bps is None
    assert "queue is too small" in str(entry.reason)


def test_entries_are_json_as_documented() -> None:
    entry = msgspec.json.decode(msgspec.json.encode(entry_for(ASKED)))
    assert entry["link"] == ["dev1", "ap1"] and entry["direction"] == "up"
    assert set(entry) == {"link", "direction", "asked", "measured", "tolerance", "ok", "reason"}
    assert set(entry["asked"]) == set(entry["measured"]) == {"bandwidth_bps", "delay_ms", "jitter_ms", "loss"}
    assert set(entry["measured"]["loss"]) == {"value", "low", "high"}
