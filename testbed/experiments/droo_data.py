"""Learners on the channel data published with DROO: how near they come to the optimum, frame by frame."""

from __future__ import annotations

import time

import msgspec
import numpy as np
import numpy.typing as npt

from testbed.offloading.learner import Learner
from testbed.offloading.wpt import WirelessPowered, alternating_weights

Reals = npt.NDArray[np.float64]


class Frames(msgspec.Struct, frozen=True):
    """One of the files: channels and what can be had of them."""

    gains: Reals  # [frames, U], `input_h`
    optimum: Reals  # [frames], `output_obj`: the rate of the best mode, bit/s

    @property
    def problems(self) -> list[WirelessPowered]:
        """The frames as problems, with DROO's weights 1, 1.5, 1, ..."""
        weights = alternating_weights(self.gains.shape[1])
        return [WirelessPowered(gains, weights) for gains in self.gains]


class Followed(msgspec.Struct, frozen=True):
    """A learner's way through the frames, `[frames]` each; rates are shares of the optimum."""

    rate: Reals
    own_rate: Reals  # of the actor's first candidate
    candidates: npt.NDArray[np.int64]  # modes scored by the solver
    seconds: Reals  # deciding and learning


def follow(learner: Learner, frames: Frames, *, learning: bool = True) -> Followed:
    """Lets a learner decide frame after frame, and learn from them unless told not to."""
    act = learner.learn if learning else learner.decide
    decisions, seconds = [], []
    for problem in frames.problems:
        began = time.perf_counter()
        decisions.append(act(problem))
        seconds.append(time.perf_counter() - began)
    return Followed(
        rate=np.array([decided.reward for decided in decisions]) / frames.optimum,
        own_rate=np.array([decided.own_reward for decided in decisions]) / frames.optimum,
        candidates=np.array([decided.candidates for decided in decisions]),
        seconds=np.array(seconds),
    )
