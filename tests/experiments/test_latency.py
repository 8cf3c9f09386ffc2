import itertools

import pytest

from testbed.experiments.compression.latency import (
    BANDWIDTHS_BPS,
    DELAY_S,
    best_within,
    completion_s,
    without_rivals,
)
from testbed.jobs.decision import LOCAL, Kind, Option
from testbed.jobs.profile import Profile


def test_completion_is_computation_transfer_and_delay(profile: Profile) -> None:
    times = completion_s(profile, 1e6)
    assert times[LOCAL] == pytest.approx(700e6 / 5e9)
    raw = 700e6 / 200e9 + 2 * DELAY_S
    assert times[Option(Kind.FULL, "raw")] == pytest.approx(raw + 8 * 49152 / 1e6, rel=0.05)  # headers and answer


def test_more_bandwidth_is_never_later(profile: Profile) -> None:
    times = [completion_s(profile, bandwidth) for bandwidth in BANDWIDTHS_BPS]
    for slower, faster in itertools.pairwise(times):
        assert all(faster[option] <= slower[option] for option in slower)


@pytest.mark.parametrize("bandwidth", [0.05e6, 0.2e6, 1e6, 10e6])
@pytest.mark.parametrize("limit", [0.05, 0.12, 0.2, 1.0])
def test_the_best_in_time_is_that_of_a_look_at_all(profile: Profile, bandwidth: float, limit: float) -> None:
    times = completion_s(profile, bandwidth)
    accuracies = [row.accuracy for row in profile.rows if times[row.option] <= limit]
    (best,) = best_within(profile, bandwidth, [limit])
    assert (best.accuracy if best else None) == max(accuracies, default=None)


def test_a_poor_channel_and_a_short_limit_take_a_high_ratio(profile: Profile) -> None:
    ours = without_rivals(profile)
    ratios = {}
    for bandwidth in (0.1e6, 10e6):
        (row,) = best_within(ours, bandwidth, [0.15])
        assert row is not None
        ratios[bandwidth] = row.option
    assert ratios[10e6].kind is Kind.FULL
    assert ratios[0.1e6] == LOCAL
    (limited,) = best_within(ours, 0.1e6, [0.139])  # local takes 140 ms
    assert limited is None or limited.nominal_ratio == 256


def test_rivals_are_no_candidates(profile: Profile) -> None:
    assert {row.option.encoding for row in without_rivals(profile).rows} == {"", "raw", "jpeg", "aecnn"}
