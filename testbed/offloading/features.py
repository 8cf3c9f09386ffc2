"""What an actor sees of a slot's problem: features of order 1, whatever the numbers of devices and edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from testbed.offloading.problem import Graph
from testbed.offloading.scenario import Floats

if TYPE_CHECKING:
    from testbed.offloading.system_model import EqualShares, Terms

DEVICE_FEATURES = 6
OPTION_FEATURES = 9
EDGE_FEATURES = 8

BOUND = 4.0
"""No feature is farther from 0."""


def graph_of(terms: Terms, equal: EqualShares) -> Graph:
    """Features by kind, times as multiples of the device's deadline or of 100 ms.

    Devices: the photograph's bits, the network's FLOPs, the deadline, FLOP/s, backlog, and the time to compute it all
    locally. Options: local, full or split; the edge's FLOPs, bits, accuracy, and the edge's FLOP/s, backlog and
    time for this option alone. Between the two: whether the option is allowed; the rate at an equal share of its edge,
    with devices spread evenly; the times on the device, uplink and edge; completion at an equal share and its reward;
    completion with an edge of its own.
    """
    menu, deadline_s = terms.menu, terms.deadline_s[:, None]
    away = menu.edge >= 0
    speed = np.where(away, terms.edge_flops_per_s[menu.edge], 0.0)
    backlog_s = np.where(away, terms.edge_backlog_s[menu.edge], 0.0)
    everybody = np.ones(len(terms.deadline_s))
    devices = (
        everybody * _decades(menu.photograph_bits, 1e5),
        everybody * _decades(menu.whole_flops, 1e9),
        terms.deadline_s / 0.1,
        _decades(terms.device_flops_per_s, 1e10),
        terms.device_backlog_s / terms.deadline_s,
        menu.whole_flops / terms.device_flops_per_s / terms.deadline_s,
    )
    options = (
        *menu.kinds,
        menu.edge_flops / 1e9,
        np.where(away, _decades(menu.payload_bits, 1e4), 0.0),
        10 * (menu.accuracy - 0.9),
        np.where(away, _decades(speed, 1e11), 0.0),
        backlog_s / 0.1,
        np.divide(menu.edge_flops, speed, out=np.zeros(len(menu)), where=away) / 0.1,
    )
    rate_bps = np.divide(terms.uplink_bits, equal.uplink_s, out=np.ones_like(equal.uplink_s), where=equal.uplink_s > 0)
    edges = (
        terms.allowed,
        np.where(away, _decades(rate_bps, 1e6), 0.0),
        terms.device_s / deadline_s,
        equal.uplink_s / deadline_s,
        equal.edge_s / deadline_s,
        equal.completion_s / deadline_s - 1,
        equal.reward,
        equal.alone_s / deadline_s - 1,
    )
    return Graph(_stacked(devices), _stacked(options), _stacked(edges), terms.allowed)


def _decades(value: Floats | float, unit: float) -> Floats:
    logarithm: Floats = np.log10(np.maximum(np.asarray(value) / unit, 1e-9))
    return logarithm


def _stacked(columns: Sequence[npt.NDArray[np.float64 | np.bool_]]) -> npt.NDArray[np.float32]:
    stacked = np.empty((*columns[0].shape, len(columns)), dtype=np.float32)
    for number, column in enumerate(columns):
        stacked[..., number] = column
    return stacked.clip(-BOUND, BOUND, out=stacked)
