"""What a fading channel passes: the Shannon rate at a gain."""

from __future__ import annotations

import math

from testbed.documents.resolved import Fading
from testbed.documents.units import BANDWIDTH

_LOWEST_BPS, _HIGHEST_BPS = BANDWIDTH.range


def mean_snr(fading: Fading) -> float:
    """P d^-n / (L0 N0 B), the signal-to-noise ratio where |h|² is 1: a ratio of powers, not dB."""
    db = fading.transmit_power_dbm - fading.reference_loss_db - fading.noise_dbm_per_hz
    db -= 10 * fading.path_loss_exponent * math.log10(fading.distance_m) + 10 * math.log10(fading.bandwidth_hz)
    return float(10.0 ** (db / 10))


def shannon_bps(fading: Fading, gain: float) -> float:
    """B log2(1 + gain times the mean SNR), in bits per second, `gain` being |h|²; held within what a link may have.

    C. E. Shannon, Communication in the Presence of Noise, Proc. IRE 37 (1949).
    """
    rate_bps = fading.bandwidth_hz * math.log1p(gain * mean_snr(fading)) / math.log(2)
    return min(max(rate_bps, _LOWEST_BPS), _HIGHEST_BPS)
