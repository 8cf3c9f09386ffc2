"""Learners on the channel data published with DROO: how near they come to the optimum, frame by frame.

Every learner's candidates are judged by the same solver (`wpt`). DROO is as published. The graph network may have as
many candidates judged a frame as DROO begins with, one a device; DROO itself soon makes do with fewer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

import msgspec
import numpy as np
import numpy.typing as npt

from testbed.offloading.droo import droo
from testbed.offloading.grl import grl
from testbed.offloading.learner import Learner
from testbed.offloading.wpt import WirelessPowered, alternating_weights

Reals = npt.NDArray[np.float64]

FIRST = 1000
"""Frames of which the mean tells how fast a learner learns."""

LAST = 0.2
"""Share of the frames, the last, of which the mean tells what it has learnt: 6,000 of 30,000."""

STRANGE = 10
"""The number of devices that the graph network meets only when it has learnt from others."""

ELSEWHERE = 2000
"""Frames of each other file that it learns from then: its choices alone are then within 0.1 % of the optimum."""


class Frames(msgspec.Struct, frozen=True):
    """One of the files: channels, and what can be had of them."""

    gains: Reals  # [frames, U], `input_h`
    optimum: Reals  # [frames], `output_obj`: the rate of the best mode, bit/s

    @property
    def devices(self) -> int:
        """U."""
        return int(self.gains.shape[1])

    @property
    def problems(self) -> Iterator[WirelessPowered]:
        """The frames as problems, the devices weighted as in DROO: 1, 1.5, 1, ..."""
        weights = alternating_weights(self.devices)
        return (WirelessPowered(gains, weights) for gains in self.gains)

    def first(self, count: int | None) -> Frames:
        """So many of them; all if not said."""
        return Frames(self.gains[:count], self.optimum[:count])


class Followed(msgspec.Struct, frozen=True):
    """A learner's way through frames, `[frames]` each; rates are shares of the optimum."""

    rate: Reals
    own_rate: Reals  # of the actor's own choice, the first candidate
    candidates: npt.NDArray[np.int64]  # judged
    seconds: Reals  # to decide and, where it learns, to learn


class Summary(msgspec.Struct, frozen=True):
    """What a way through frames comes to; rates are shares of the optimum."""

    learner: str
    seed: int
    frames: int
    first: float  # mean over the first 1,000 frames
    last: float  # mean over the last fifth
    own_last: float  # the same of the first candidate alone
    candidates: float  # judged a frame, mean
    frame_ms: float  # mean
    decision_ms: float  # median: frames after which nothing is learnt are nine of ten


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


def summary(name: str, seed: int, followed: Followed) -> Summary:
    """The figures to compare."""
    last = max(1, round(LAST * len(followed.rate)))
    return Summary(
        learner=name,
        seed=seed,
        frames=len(followed.rate),
        first=float(followed.rate[:FIRST].mean()),
        last=float(followed.rate[-last:].mean()),
        own_last=float(followed.own_rate[-last:].mean()),
        candidates=float(followed.candidates.mean()),
        frame_ms=1e3 * float(followed.seconds.mean()),
        decision_ms=1e3 * float(np.median(followed.seconds)),
    )


def learn_in_turn(learner: Learner, files: Sequence[Frames]) -> None:
    """Learns from the frames of several files by turns, a frame of each."""
    for problems in zip_longest(*(frames.problems for frames in files)):
        for problem in problems:
            if problem is not None:
                learner.learn(problem)


def compare(files: Mapping[int, Frames], seeds: Sequence[int], frames: int | None = None) -> Iterator[Summary]:
    """DROO and GRL on the file of ten devices, and GRL there after it has learnt from the other files alone.

    `files` by their number of devices; `frames` is how many of each are used, all if not said. What is learnt from the
    other files is judged without learning further, so `first` says nothing of speed there.

    Raises:
        KeyError: the file of ten devices is missing.
    """
    used = {devices: file.first(frames) for devices, file in files.items()}
    strange = used[STRANGE]
    others = [file for devices, file in sorted(used.items()) if devices != STRANGE]
    like = next(strange.problems).graph
    for seed in seeds:
        yield summary("droo", seed, follow(droo(like, seed), strange))
        yield summary("grl", seed, follow(_grl(strange, seed), strange))
        if others:
            carried = _grl(strange, seed)
            learn_in_turn(carried, [file.first(ELSEWHERE) for file in others])
            trained_at = ", ".join(str(file.devices) for file in others)
            yield summary(f"grl learnt at {trained_at}", seed, follow(carried, strange, learning=False))


def _grl(frames: Frames, seed: int) -> Learner:
    return grl(next(frames.problems).graph, seed, candidates=frames.devices, rounds=1)
