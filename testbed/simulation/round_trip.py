"""Round trips as TCP measures them, and the timeout that it makes of them."""

from __future__ import annotations

LEAST_TIMEOUT_S, MOST_TIMEOUT_S = 0.2, 120.0


class RoundTrip:
    """Smoothed round trips and their deviation (RFC 6298), with Linux's least timeout."""

    __slots__ = ("deviation_s", "least_s", "smooth_s")

    def __init__(self, first_s: float) -> None:
        self.smooth_s, self.deviation_s, self.least_s = first_s, first_s / 2, first_s

    def measured(self, round_trip_s: float) -> None:
        """Takes one more."""
        self.least_s = min(self.least_s, round_trip_s)
        self.deviation_s += (abs(round_trip_s - self.smooth_s) - self.deviation_s) / 4
        self.smooth_s += (round_trip_s - self.smooth_s) / 8

    def timeout_s(self, backing_off: int) -> float:
        """How long an acknowledgement is waited for, so many times as long as at first."""
        return min(MOST_TIMEOUT_S, (self.smooth_s + max(LEAST_TIMEOUT_S, 4 * self.deviation_s)) * backing_off)

    @property
    def slack_s(self) -> float:
        """By how much a packet may come after one that was sent later (RACK's reordering window)."""
        return min(self.least_s / 4, self.smooth_s)
