"""What is tried: the defaults, sweeps of what matters, other sizes, and how much of each."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from testbed.offloading.learner import Learning
from testbed.offloading.scenario import Scenario

DEFAULTS = Scenario(stay_slots=1)
"""The default scenario, but that every slot has other devices at other places: means over as many slots vary less."""

LEARNING = Learning(batch=32, every=5)
SHARES = (1.0, 0.5, 1.0, 0.2)
"""Learners at the defaults learn from slots with, in turn, these shares of the edges' band and compute: as little for
each device as there is among 20 and among 50.
"""

OPTIMUM = msgspec.structs.replace(DEFAULTS, devices=4)
"""Small enough that the best of all decisions can be found."""

JUDGED_SEED = 1_000_000
"""Added to a seed: what policies are judged on is none of what they learnt from."""

QUICK_FRAMES = 3000
"""Of DROO's data, a file."""


class Point(msgspec.Struct, frozen=True):
    """One scenario of a sweep, by the value that is swept."""

    sweep: str  # with the unit
    value: float
    scenario: Scenario


class Settings(msgspec.Struct, frozen=True):
    """How much is tried."""

    seeds: tuple[int, ...]
    training_slots: int
    judged_slots: int  # a seed and scenario
    sizes: tuple[int, ...]  # of devices, at which GRL-AECNN is trained too, beside the default number
    values: dict[str, tuple[float, ...]]  # of the sweeps
    droo_sizes: bool  # whether DROO-AECNN, which has one size for good, is trained at the other sizes of the sweep

    @property
    def points(self) -> tuple[Point, ...]:
        """The sweeps."""
        return tuple(
            Point(sweep, value, _at(sweep, value)) for sweep, values in self.values.items() for value in values
        )


DEVICES, DISTANCE, DEADLINE, CAPACITY = "devices", "distance, m", "deadline, ms", "edge, GFLOP/s"


def quick(seeds: Sequence[int]) -> Settings:
    """In minutes: little training, few slots."""
    values: dict[str, tuple[float, ...]] = {
        DEVICES: (5.0, 10.0, 20.0),
        DISTANCE: (375.0, 750.0, 1125.0),
        DEADLINE: (70.0, 100.0, 150.0),
        CAPACITY: (50.0, 100.0, 200.0),
    }
    return Settings(tuple(seeds), 600, 150, (5, 20), values, droo_sizes=False)


def whole(seeds: Sequence[int]) -> Settings:
    """All of it: half an hour on two fast cores."""
    values = {
        DEVICES: (5.0, 10.0, 20.0, 50.0),
        DISTANCE: (250.0, 375.0, 500.0, 750.0, 1000.0, 1250.0),
        DEADLINE: (60.0, 80.0, 100.0, 125.0, 150.0, 200.0),
        CAPACITY: (25.0, 50.0, 100.0, 200.0, 400.0),
    }
    return Settings(tuple(seeds), 4000, 400, (5, 20, 50), values, droo_sizes=True)


def _at(sweep: str, value: float) -> Scenario:
    """The default scenario with one thing changed. Ranges keep their width relative to their middle."""
    if sweep == DEVICES:
        return msgspec.structs.replace(DEFAULTS, devices=int(value))
    if sweep == CAPACITY:
        return msgspec.structs.replace(DEFAULTS, edge_flops_per_s=value * 1e9)
    if sweep == DISTANCE:
        return msgspec.structs.replace(DEFAULTS, distance_m=_around(value, DEFAULTS.distance_m))
    return msgspec.structs.replace(DEFAULTS, deadline_s=_around(value / 1e3, DEFAULTS.deadline_s))


def _around(middle: float, like: tuple[float, float]) -> tuple[float, float]:
    scale = 2 * middle / (like[0] + like[1])
    return round(scale * like[0], 9), round(scale * like[1], 9)
