"""The channels of the experiment: phases of a run, each with a rate or a loss of the devices' links."""

from __future__ import annotations

import msgspec

RATES_MBPS = (50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1)
LOSSES = (0.0, 0.01, 0.02, 0.05, 0.1)
LOSSY_MBPS = 2.0
BURST = 4.0
LIMITS_MS = (80.0, 100.0, 120.0, 150.0, 200.0, 300.0, 500.0)
DEVICE_GFLOPS, EDGE_GFLOPS = 5.0, 200.0
DEADLINE_S = 10.0
"""Long enough for every answer to come: what is on time is judged at each of `LIMITS_MS` afterwards."""
SETTLE_S = 0.2
"""After a change of the links, until jobs count: what was under way is through, and the queues are empty."""

EMULATED, SIMULATED = "emulated", "simulated"
RATE, LOSS, BURSTS = "uplink rate", "loss", "loss in bursts"


class Phase(msgspec.Struct, frozen=True):
    """The devices' links for some seconds: uplink rate in Mbit/s, loss of both directions as a fraction."""

    sweep: str
    value: float
    rate_mbps: float
    loss: float


class Part(msgspec.Struct, frozen=True):
    """Phases that one run goes through, on links whose losses come so many in a row."""

    name: str
    phases: tuple[Phase, ...]
    burst: float | None = None


PARTS = (
    Part(
        "rates",
        (
            *(Phase(RATE, rate, rate, 0.0) for rate in RATES_MBPS),
            *(Phase(LOSS, loss, LOSSY_MBPS, loss) for loss in LOSSES),
        ),
    ),
    Part("bursts", tuple(Phase(BURSTS, loss, LOSSY_MBPS, loss) for loss in LOSSES if loss), BURST),
)


class Settings(msgspec.Struct, frozen=True):
    """How often everything is repeated, and for how long a phase lasts."""

    seeds: tuple[int, ...]
    phase_s: float


def quick(seeds: tuple[int, ...]) -> Settings:
    """Minutes."""
    return Settings(seeds, 4.0)


def whole(seeds: tuple[int, ...]) -> Settings:
    """An hour."""
    return Settings(seeds, 20.0)
