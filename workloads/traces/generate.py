"""Makes the trace of arrivals in this folder, the same each time; README.md says what it is."""

from __future__ import annotations

import math
import random
from pathlib import Path

FOLDER = Path(__file__).parent


def arrivals(seed: int = 1, seconds: int = 30, devices: int = 8) -> str:
    """A rush: jobs of each device, Poisson at a rate that swells from 1 /s to 5 /s and falls again; CSV."""
    drawn = random.Random(seed)
    rows = []
    for device in range(1, devices + 1):
        at_s = 0.0
        while (at_s := at_s + drawn.expovariate(5)) < seconds:  # thinned from the highest rate
            if drawn.random() < (1 + 4 * math.sin(math.pi * at_s / seconds) ** 2) / 5:
                rows.append((at_s, f"dev{device}"))
    return "\n".join(["time_s,device", *(f"{at_s:.3f},{device}" for at_s, device in sorted(rows))]) + "\n"


if __name__ == "__main__":
    (FOLDER / "arrivals.csv").write_text(arrivals())
