"""What can be set on a link: in a topology, in the steps of a channel, and by events."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from testbed.documents.model import Model
from testbed.documents.resolved import LinkChange
from testbed.documents.units import Bandwidth, Delay, Jitter, Loss, Size


class Parameters(Model):
    """What can be set on one direction of a link."""

    bandwidth_bps: Bandwidth | None = Field(
        None, alias="bandwidth", description="Bits per second at the IP layer; every packet takes size over bandwidth."
    )
    delay_s: Delay | None = Field(
        None, alias="delay", description="One-way delay on top of what the bandwidth takes; 0 ms if never given."
    )
    jitter_s: Jitter | None = Field(
        None,
        alias="jitter",
        description="Uniform change of the delay, plus or minus, never reordering; 0 ms if never given.",
    )
    loss: Loss | None = Field(
        None, description="Share of packets lost after they have used the link; 0 % if never given."
    )
    queue_bytes: Size | None = Field(
        None,
        alias="queue",
        description="Size of the queue before the link; if never given, bandwidth times delay and enough for a burst.",
    )

    def change(self) -> LinkChange:
        """What is given here, as a change of one direction."""
        return LinkChange(self.bandwidth_bps, self.delay_s, self.jitter_s, self.loss, self.queue_bytes)


class BothWays(Parameters):
    """Parameters of both directions; `up` and `down` override them for one."""

    up: Parameters | None = Field(None, description="Parameters from the node named first to the second.")
    down: Parameters | None = Field(None, description="Parameters from the node named second to the first.")

    @property
    def changes(self) -> tuple[LinkChange, LinkChange]:
        """What is given for each direction, up and down."""
        return self._one_way(self.up), self._one_way(self.down)

    def _one_way(self, own: Parameters | None) -> LinkChange:
        return own.change().over(self.change()) if own else self.change()


MAX_UNDER_WAY = 1 << 30
"""Bytes that may be on their way on one direction of a link: they are held in memory."""


def highest(changes: Iterable[LinkChange]) -> LinkChange:
    """For each of bandwidth, delay and jitter the highest value that is set."""
    most = [0.0, 0.0, 0.0]
    for change in changes:
        for index, value in enumerate((change.bandwidth_bps, change.delay_s, change.jitter_s)):
            if value is not None and value > most[index]:
                most[index] = value
    return LinkChange(bandwidth_bps=most[0], delay_s=most[1], jitter_s=most[2])


def too_much_under_way(changes: Iterable[LinkChange]) -> str | None:
    """Why parameters that may hold at the same time are more than a link can do; None if they are not."""
    most = highest(changes)
    assert most.bandwidth_bps is not None and most.delay_s is not None and most.jitter_s is not None
    under_way = most.bandwidth_bps * (most.delay_s + most.jitter_s) / 8
    if under_way <= MAX_UNDER_WAY:
        return None
    return (
        f"has {under_way / MAX_UNDER_WAY:.4g} GiB under way (bandwidth times delay and jitter), at most 1 GiB is"
        " possible: lower one of them"
    )
