"""Makes the traces in this folder, the same each time; README.md says what they are."""

from __future__ import annotations

import math
import random
from pathlib import Path

FOLDER = Path(__file__).parent


def walk(seed: int = 1, seconds: int = 60, interval_ms: int = 100) -> str:
    """A walk away from an access point and back, with shadowing: the Shannon rate, as CSV of time, rate and delay."""
    drawn = random.Random(seed)
    rows, shadowing_db = ["time_s,bandwidth_bps,delay_ms"], 0.0
    for step in range(seconds * 1000 // interval_ms):
        at_s = step * interval_ms / 1000
        distance_m = 20 + 40 * (1 - math.cos(2 * math.pi * at_s / seconds))
        shadowing_db = 0.97 * shadowing_db + drawn.gauss(0, 4 * math.sqrt(1 - 0.97**2))
        snr_db = 30 - 35 * math.log10(distance_m / 20) + shadowing_db  # 30 dB at 20 m, path-loss exponent 3.5
        rate_bps = max(1e6 * math.log2(1 + 10 ** (snr_db / 10)), 100e3)
        rows.append(f"{at_s:g},{round(rate_bps, -3):.0f},{4 + distance_m / 20:.1f}")
    return "\n".join(rows) + "\n"


def cellular(seed: int = 2, seconds: int = 10) -> str:
    """Packets of 1,504 bytes over a cellular link: a rate that wanders between 1 and 6 Mbit/s, with an outage."""
    drawn = random.Random(seed)
    lines: list[str] = []
    level, credit = 0.0, 0.0
    for at_ms in range(1, seconds * 1000 + 1):
        level = 0.999 * level + drawn.gauss(0, math.sqrt(1 - 0.999**2))
        rate_bps = 0.0 if 6200 <= at_ms < 6500 else 3.5e6 + 2.5e6 * math.tanh(level)
        credit += rate_bps / 1000 / (1504 * 8) * drawn.expovariate(1)
        lines += [str(at_ms)] * int(credit)
        credit -= int(credit)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (FOLDER / "walk.csv").write_text(walk())
    (FOLDER / "cellular.mahi").write_text(cellular())
