"""When the jobs of a slot arrive, and how long each then waits for its own device.

In the paper a device has one job a slot, there at its beginning. In a run jobs come at any time, after their slot was
decided, and one decision holds for all that come in it: a job may find less of the device's earlier work than there was
at the slot's beginning, and another job of its device before it, decided alike.

    wait = max(0, max(0, W - (tau - g)) + s - g)      behind another job of the slot
         = max(0, W - tau)                            as the slot's first

W is the backlog at the slot's beginning, tau the time from there to the arrival, g the gap to the job before, and s
what that one computes on the device. More than one job before is left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_INSTANTS, _GAPS = 4, 3


class Arrivals(NamedTuple):
    """The ways in which the job of each of U devices may come, Q of them."""

    probability: Floats  # [Q, U]
    after_s: Floats  # [Q, U], from the slot's beginning
    gap_s: Floats  # [Q, U], since the device's job before it in the slot; infinite: it is the first


def at_the_beginning(devices: int) -> Arrivals:
    """Each job is there when its slot begins."""
    return Arrivals(np.ones((1, devices)), np.zeros((1, devices)), np.full((1, devices), np.inf))


def at_any_time(jobs_per_s: Floats, slot_s: float) -> Arrivals:
    """Jobs arrive independently of each other at rates `[U]`: Poisson, in equal parts of the slot and of the gaps."""
    after_s = ((np.arange(_INSTANTS) + 0.5) / _INSTANTS * slot_s)[:, None, None]  # [instant, gap, U]
    quantile = ((np.arange(_GAPS) + 0.5) / _GAPS)[:, None]
    first = np.exp(-jobs_per_s * after_s)
    gap_s = -np.log1p(quantile * (first - 1)) / np.maximum(jobs_per_s, 1e-9)  # without jobs whatever: none is before
    shape = (_INSTANTS, _GAPS, len(jobs_per_s))
    ways = (
        np.concatenate([first, np.broadcast_to((1 - first) / _GAPS, shape)], axis=1) / _INSTANTS,
        np.broadcast_to(after_s, (_INSTANTS, 1 + _GAPS, len(jobs_per_s))),
        np.concatenate([np.full_like(first, np.inf), gap_s], axis=1),
    )
    return Arrivals(*(way.reshape(-1, len(jobs_per_s)) for way in ways))


def wait_s(backlog_s: Floats, own_s: Floats, after_s: Floats, gap_s: Floats) -> Floats:
    """What a job waits for its device, on which one like it computes `own_s`; nothing if that is nothing."""
    behind = np.isfinite(gap_s)
    gap_s = np.where(behind, gap_s, after_s)
    left_s = np.maximum(backlog_s - (after_s - gap_s), 0.0)
    found: Floats = np.where(behind, np.maximum(left_s + own_s - gap_s, 0.0), np.maximum(backlog_s - after_s, 0.0))
    return np.where(own_s > 0, found, 0.0)
