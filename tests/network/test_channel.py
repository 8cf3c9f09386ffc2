"""Channels: drawn from seed and names alone, and distributed as they say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.documents.fading import mean_snr, shannon_bps
from testbed.documents.resolved import Channel, Fading, LinkChange, Schedule
from testbed.network.channel import draw

FADING = Fading(5e6, 60, 3.0, 40, 20, -170, 0.02)


def first(count: int, channel: Channel, seed: int = 1, sender: str = "dev1", receiver: str = "ap1"):
    return list(itertools.islice(draw(channel, seed, sender, receiver), count))


def gains(k: float, count: int) -> np.ndarray:
    """|h|² of that many blocks, from the rates."""
    fading = Fading(5e6, 60, 3.0, 40, 20, -170, 0.02, k)
    rates = np.array([change.bandwidth_bps for _, change in first(count, fading)])
    return np.expm1(rates / fading.bandwidth_hz * math.log(2)) / mean_snr(fading)


def test_the_same_seed_and_names_give_the_same_channel_and_others_another():
    drawn = first(300, FADING)
    assert drawn == first(300, FADING)
    for other in ({"seed": 2}, {"sender": "dev2"}, {"sender": "ap1", "receiver": "dev1"}, {"receiver": "ap2"}):
        rates = [change.bandwidth_bps for _, change in first(300, FADING, **other)]
        mine = [change.bandwidth_bps for _, change in drawn]
        assert abs(np.corrcoef(mine, rates)[0, 1]) < 5 / math.sqrt(300)


def test_blocks_last_a_coherence_time_but_for_the_first():
    instants = np.array([at_s for at_s, _ in first(1000, FADING)])
    assert instants[0] == 0 and 0 < instants[1] <= 0.02
    assert np.diff(instants[1:]) == pytest.approx(0.02)
    phases = [first(2, FADING, sender=f"dev{number}")[1][0] for number in range(400)]
    assert abs(np.mean(phases) - 0.01) < 5 * 0.02 / math.sqrt(12 * 400)


@pytest.mark.parametrize("k", [0.0, 1.0, 10.0])
def test_gains_have_mean_1_and_the_variance_of_their_law(k):
    drawn, n = gains(k, 40_000), 40_000
    variance = (1 + 2 * k) / (1 + k) ** 2  # of the noncentral chi-squared law with two degrees, scaled to mean 1
    assert abs(drawn.mean() - 1) < 5 * math.sqrt(variance / n)
    fourth = np.mean((drawn - drawn.mean()) ** 4)
    assert abs(drawn.var() - variance) < 5 * math.sqrt((fourth - variance**2) / n)


def test_without_a_direct_path_gains_are_exponential_and_independent():
    drawn, n = gains(0.0, 40_000), 40_000
    for level in (0.1, 0.5, 1.0, 3.0):
        share = math.exp(-level)
        assert abs((drawn > level).mean() - share) < 5 * math.sqrt(share * (1 - share) / n)
    for lag in (1, 2, 256):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 5 / math.sqrt(n)


def test_the_rate_is_shannons():
    # 60 m at exponent 3 and 40 dB at 1 m lose 93.3 dB; noise is -170 dBm/Hz over 5 MHz, -103.0 dBm: 29.7 dB of SNR.
    assert 10 * math.log10(mean_snr(FADING)) == pytest.approx(20 - 93.345 - (-170 + 66.990), abs=0.001)
    assert shannon_bps(FADING, 1.0) == pytest.approx(5e6 * math.log2(1 + mean_snr(FADING)))
    assert shannon_bps(FADING, 0.0) == 1e3  # the lowest that a link may have


SCHEDULE = Schedule((0.0, 1.0, 2.5), (LinkChange(5e6), LinkChange(loss=0.1), LinkChange(7e6)))


def test_a_schedule_keeps_what_it_does_not_name_and_ends():
    assert first(10, SCHEDULE) == [
        (0.0, LinkChange(5e6)),
        (1.0, LinkChange(5e6, loss=0.1)),
        (2.5, LinkChange(7e6, loss=0.1)),
    ]


@given(st.floats(2.5, 1e4))
def test_a_schedule_with_a_period_begins_anew(period_s):
    looped = Schedule(SCHEDULE.at_s, SCHEDULE.changes, period_s)
    drawn = first(3001, looped)
    assert [change for _, change in drawn[:3]] == [change for _, change in drawn[-4:-1]]
    assert drawn[-1] == (1000 * period_s, LinkChange(5e6))
