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


class Arrival(NamedTuple):
    """One of the ways in which a device's job may come, each entry of the arrays a device's."""

    probability: Floats  # [U]
    after_s: Floats  # [U], from the slot's beginning
    gap_s: Floats  # [U], since the device's job before it in the slot; infinite: it is the first


def at_the_beginning(devices: int) -> tuple[Arrival, ...]:
    """Each job is there when its slot begins."""
    return (Arrival(np.ones(devices), np.zeros(devices), np.full(devices, np.inf)),)


def at_any_time(jobs_per_s: Floats, slot_s: float) -> tuple[Arrival, ...]:
    """Jobs arrive independently of each other at rates `[U]`: Poisson, in equal parts of the slot and of the gaps."""
    found = []
    for part in range(_INSTANTS):
        after_s = np.full(len(jobs_per_s), (part + 0.5) / _INSTANTS * slot_s)
        first = np.exp(-jobs_per_s * after_s)
        found.append(Arrival(first / _INSTANTS, after_s, np.full(len(jobs_per_s), np.inf)))
        rate = np.maximum(jobs_per_s, 1e-9)  # without jobs there is none before, whatever the gap
        for quantile in range(_GAPS):
            gap_s = -np.log1p((quantile + 0.5) / _GAPS * (first - 1)) / rate
            found.append(Arrival((1 - first) / _INSTANTS / _GAPS, after_s, gap_s))
    return tuple(found)


def wait_s(backlog_s: Floats, own_s: Floats, after_s: Floats, gap_s: Floats) -> Floats:
    """What a job waits for its device, on which one like it computes `own_s`; nothing if that is nothing."""
    behind = np.isfinite(gap_s)
    gap_s = np.where(behind, gap_s, after_s)
    left_s = np.maximum(backlog_s - (after_s - gap_s), 0.0)
    found: Floats = np.where(behind, np.maximum(left_s + own_s - gap_s, 0.0), np.maximum(backlog_s - after_s, 0.0))
    return np.where(own_s > 0, found, 0.0)
