"""What an edge gives each device offloaded to it: shares of its bandwidth, then of its compute.

An edge's devices get the shares that make the least slack (deadline less completion) among them the greatest. There all
slacks are equal, so that one number per edge is sought: the common slack z at which the shares needed sum to one.
Device u needs the share w_u(z) that does its work in what its deadline leaves less z; ln w_u is convex and rising in z,
for a resource that is divided evenly as for a Shannon channel, and so is the logarithm of a sum of such shares.
Newton's method on ln(sum of w) = 0 therefore goes down to the root without ever passing it if it starts above, at the
least of the slacks that each device would have with all of the edge; bisection would find the same root more slowly.

Where not all can be on time, equal slacks would make all of them late. There those that need least are taken in until
no further one fits, and the rest, late whatever happens, divide what little is held back for them.

Pairs of a device and its edge are laid flat, P of them; `group` numbers the edge, each candidate decision having edges
of its own: thus many decisions are worked out at once, without a loop over devices, edges or decisions.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

HELD_BACK = 0.05
"""The share of an edge that those which cannot be on time divide evenly; all of it, where nobody can be."""

_TOLERANCE = 1e-6  # of the sum of shares
_LEAST = 1e-300  # added to what may be 0 and is divided by
_STEPS = 30  # from above, each at least squares the small excess of the sum; seldom more than 8 are needed


class Resource(Protocol):
    """Something divided among the devices of an edge; one entry for each pair."""

    def at(self, pairs: Integers) -> Self:
        """The resource of these pairs."""
        ...

    def rate(self, share: Floats | float) -> Floats:
        """`[P]`: work a second with a share from 0 (not included) to 1."""
        ...

    def need(self, rate: Floats) -> tuple[Floats, Floats | float]:
        """`[P]` each: the share that gives this rate, and its elasticity d ln share / d ln rate.

        A rate that no share up to 1 gives needs some share above 1.
        """
        ...


class Divided(NamedTuple):
    """A resource of which half a share is half the rate: FLOP/s, or a shaped link."""

    whole: Floats  # [P], the rate of all of it

    def at(self, pairs: Integers) -> Divided:
        """The resource of these pairs."""
        return Divided(self.whole[pairs])

    def rate(self, share: Floats | float) -> Floats:
        """In the unit of `whole`."""
        return self.whole * share

    def need(self, rate: Floats) -> tuple[Floats, float]:
        """The share, and its elasticity 1."""
        return rate / self.whole, 1.0


class Limited(NamedTuple):
    """A total divided among links each of which passes no more than its own rate, however much it is given."""

    whole: Floats  # [P], the rate of all of it
    most: Floats  # [P], the link's

    def at(self, pairs: Integers) -> Limited:
        """The links of these pairs."""
        return Limited(self.whole[pairs], self.most[pairs])

    def rate(self, share: Floats | float) -> Floats:
        """In the unit of `whole`."""
        return np.minimum(self.whole * share, self.most)

    def need(self, rate: Floats) -> tuple[Floats, float]:
        """The share, and its elasticity 1; 2 for a rate that the link does not pass."""
        return np.where(rate > self.most * (1 + _TOLERANCE), 2.0, rate / self.whole), 1.0


class Shannon(NamedTuple):
    """A radio band: a share w of B Hz passes w B log2(1 + snr / w) bit/s, snr = P |h|² / (N0 B)."""

    bandwidth_hz: Floats  # [P], B
    snr: Floats  # [P], with all of the band

    def at(self, pairs: Integers) -> Shannon:
        """The channels of these pairs."""
        return Shannon(self.bandwidth_hz[pairs], self.snr[pairs])

    def rate(self, share: Floats | float) -> Floats:
        """In bit/s."""
        rate: Floats = self.bandwidth_hz * share * np.log2(1 + self.snr / share)
        return rate

    def need(self, rate: Floats) -> tuple[Floats, Floats]:
        """With x = snr / w and y = rate ln 2 / (B snr), the rate over that of an endless band: ln(1 + x) = x y."""
        y = rate * np.log(2) / (self.bandwidth_hz * self.snr)
        x = np.interp(y, _Y, _X)
        return self.snr / x, y / np.maximum(y - 1 / (1 + x), 1e-12)


_X = np.exp(np.linspace(34.0, np.log(1e-8), 2**14))  # SNRs from 150 dB down to -80 dB; interpolated to 1e-5
_Y = np.log1p(_X) / _X

LEAST_SNR = 1e-6
"""Channels are taken to be no worse: far below, no share of a band is told from another."""


def shares(resource: Resource, work: Floats, left_s: Floats, group: Integers) -> Floats:
    """`[P]`: the share of its edge for each pair, above 0, those of an edge summing to 1.

    `work` is positive, in the resource's unit; `left_s` is what the deadline leaves for it, in seconds (negative
    where the deadline has passed). `group` numbers the edges from 0; numbers may be missing.
    """
    if not len(work):
        return np.zeros(0)
    groups = int(group.max()) + 1
    taken, room = _taken_in(resource, work, left_s, group, groups)
    left_s = np.where(taken, left_s, np.inf)  # an endless deadline needs nothing
    slack = np.full(groups, np.inf)
    np.minimum.at(slack, group, left_s - work / resource.rate(1.0))
    slack[np.isinf(slack)] = 0.0  # where nobody is taken in
    share, most = np.zeros(len(work)), room * (1 + _TOLERANCE)
    for _ in range(_STEPS):
        time_s = left_s - slack[group]
        share, elasticity = resource.need(work / time_s)
        total = np.bincount(group, share, groups)
        if (total <= most).all():
            break
        rise = np.bincount(group, share * elasticity / time_s, groups)
        slack -= total * np.log(np.maximum(total / room, 1.0)) / (rise + _LEAST)
    return _with_the_late(share, taken, group, groups)


def _taken_in(
    resource: Resource, work: Floats, left_s: Floats, group: Integers, groups: int
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Who shall be on time, and the share of each edge that is for them."""
    room = np.ones(groups)
    in_time = left_s > 0
    need = np.where(in_time, resource.need(work / np.where(in_time, left_s, 1.0))[0], 2.0)
    if (np.bincount(group, need, groups) <= 1).all():
        return np.ones(len(work), dtype=bool), room
    need = np.minimum(need, 2.0)
    order = np.lexsort((need, group))
    ordered = group[order]
    running = np.cumsum(need[order])
    before = (running - need[order])[np.searchsorted(ordered, np.arange(groups))]
    total = np.bincount(group, need, groups)
    room[total > 1] = 1 - HELD_BACK
    taken = np.empty(len(work), dtype=bool)
    taken[order] = running - before[ordered] <= room[ordered] * (1 + _TOLERANCE)
    return taken, room


def _with_the_late(share: Floats, taken: npt.NDArray[np.bool_], group: Integers, groups: int) -> Floats:
    late = np.bincount(group, ~taken, groups)
    share = np.where(taken, share, 0.0)
    used = np.bincount(group, share, groups)
    free = np.where(late == 0, 0.0, np.where(used > 0, HELD_BACK, 1.0))
    scale = (1 - free) / np.where(used > 0, used, 1.0)
    return np.where(taken, share * scale[group], (free / np.maximum(late, 1))[group])
