"""A problem small enough to see through: options are worth something to each device, and less the more take them."""

import itertools

import numpy as np

from testbed.offloading.droo import FlatActor
from testbed.offloading.grl import Switches
from testbed.offloading.learner import Learner, Learning
from testbed.offloading.problem import Choices, Graph


class Crowding:
    """The reward is the mean over devices of its option's worth, less the share of devices that take the same one."""

    def __init__(self, rng: np.random.Generator, devices: int, options: int, share_allowed: float = 1.0) -> None:
        self.worth = rng.uniform(size=(devices, options))
        self.allowed = rng.uniform(size=self.worth.shape) < share_allowed
        self.allowed[:, 0] = True

    @property
    def graph(self) -> Graph:
        devices, options = self.worth.shape
        return Graph(
            np.ones((devices, 1), np.float32),
            np.ones((options, 1), np.float32),
            self.worth[:, :, None].astype(np.float32),
            self.allowed,
        )

    def rewards(self, choices: Choices) -> np.ndarray:
        assert self.allowed[np.arange(len(self.worth)), choices].all()
        alike = (choices[:, :, None] == choices[:, None, :]).mean(axis=2)
        return (self.worth[np.arange(len(self.worth)), choices] - alike).mean(axis=1)

    def optimum(self) -> float:
        devices, options = self.worth.shape
        everything = np.array(list(itertools.product(range(options), repeat=devices)))
        kept = everything[self.allowed[np.arange(devices), everything].all(axis=1)]
        return float(self.rewards(kept).max())


def droo_aecnn(like: Graph, seed: int, learning: Learning | None = None) -> Learner:
    """DROO's network over the flattened graph, searching and learning as GRL does."""
    return Learner(FlatActor.drawn(like, seed), Switches(seed), learning or Learning(), seed)
