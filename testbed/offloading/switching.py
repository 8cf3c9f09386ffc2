"""Decisions made from one by switching devices to other options, and which switches gain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from testbed.offloading.problem import Choices

_GAIN = 1e-9

Numbers = npt.NDArray[np.int64]


def switched(choice: Numbers, devices: Numbers, options: Numbers) -> Choices:
    """`[K, U]`: one device switched in each."""
    made = np.tile(choice, (len(devices), 1))
    made[np.arange(len(devices)), devices] = options
    return made


def together(choice: Numbers, devices: Numbers, options: Numbers) -> Choices:
    """`[K, U]`: the first device switched, the first two, and so on."""
    made = np.tile(choice, (len(devices), 1))
    for number, (device, option) in enumerate(zip(devices, options, strict=True)):
        made[number:, device] = option
    return made


def gaining(gains: npt.NDArray[np.float64], devices: Numbers, most: int) -> Numbers:
    """Which switches gain, in the order of falling gain, of each device the best alone; `most` at most."""
    order = np.argsort(-gains, kind="stable")
    order = order[gains[order] > _GAIN]
    _, first = np.unique(devices[order], return_index=True)
    return order[np.sort(first)[:most]]
