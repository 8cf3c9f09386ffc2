"""What a search for the maximum load found: the rates that were tried, and the highest that was held."""

from __future__ import annotations

import msgspec


class Trial(msgspec.Struct, frozen=True):
    """One rate tried: a run."""

    rate_per_s: float  # per device
    issued: int
    success_probability: float | None
    success_interval: tuple[float, float] | None  # Wilson, 95 %
    verdict: str
    reasons: tuple[str, ...]  # why it is INVALID
    held: bool  # the success probability asked, by a run that is VALID
    run: str  # its folder's name


class Load(msgspec.Struct, frozen=True):
    """What a search found; the rates are per device."""

    policy: str
    success: float  # asked, 0 to 1
    rate_per_s: float | None  # the highest that was held; None: none was
    not_held_per_s: float | None  # the lowest above it that was not; None: all were
    devices: int
    trials: tuple[Trial, ...]  # in the order in which they were tried

    @property
    def total_per_s(self) -> float | None:
        """Of all devices together."""
        return None if self.rate_per_s is None else self.devices * self.rate_per_s
