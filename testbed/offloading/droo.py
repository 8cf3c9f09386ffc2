"""DROO: decisions by a multi-layer perceptron that reads the whole slot at once, and so has one size for good.

From Huang, Bi and Zhang (see `wpt`) and their published code: the network N-120-80-N, the order-preserving
quantisation, the number of candidates that adapts, the hyperparameters. Theirs is for two options a device. The sigmoid
of one output is the softmax of two of which one is 0, and the binary cross-entropy that of the softmax, so the learner
is the same.

DROO-AECNN is the same network over the flattened graph, with an output for each device and option, and the candidates
of GRL, for the quantisation knows two options only.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.offloading.errors import PolicyError
from testbed.offloading.learner import FORBIDDEN, Decided, Judge, Learner, Learning, Weights, linear
from testbed.offloading.problem import Choices, Floats, Graph

HIDDEN = (120, 80)

PUBLISHED = Learning(learning_rate=0.01, betas=(0.09, 0.999), weight_decay=1e-4, anew=True)
"""As DROO learns in the published code, which makes its optimiser anew for every step."""

ADAPT_EVERY = 32
"""Frames after which DROO sets its number of candidates anew."""


def _drawn(inputs: int, outputs: int, seed: int) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    sizes = (inputs, *HIDDEN, outputs)
    weights: dict[str, Floats] = {}
    for layer in range(3):
        weights |= linear(rng, str(layer), sizes[layer], sizes[layer + 1])
    return weights


def _perceptron(weights: Weights, inputs: tuple[Any, ...]) -> Any:
    """`[..., outputs]`, of inputs `[..., some]` that together are what the first layer reads."""
    sizes = [part.shape[-1] for part in inputs]
    if sum(sizes) != len(weights["0"]):
        raise PolicyError(
            f"droo reads {len(weights['0'])} numbers a slot and was given {sum(sizes)}: it decides only for as many "
            "devices and options as it was trained with; grl decides for any number"
        )
    values, start = weights["0.bias"], 0
    for part, size in zip(inputs, sizes, strict=True):
        values = values + part @ weights["0"][start : start + size]
        start += size
    values = values.clip(min=0) @ weights["1"] + weights["1.bias"]
    return values.clip(min=0) @ weights["2"] + weights["2.bias"]


class BinaryActor:
    """DROO's network: reads the first feature of every device and scores the second of its two options (`Actor`)."""

    def __init__(self, weights: dict[str, Floats]) -> None:
        self.weights = weights

    @classmethod
    def drawn(cls, like: Graph, seed: int) -> BinaryActor:
        """An untrained one, for as many devices as this graph has."""
        return cls(_drawn(len(like.devices), len(like.devices), seed))

    def logits(self, weights: Weights, devices: Any, options: Any, edges: Any, allowed: Any) -> Any:
        """`[..., U, 2]`: 0 and a score, both options being allowed."""
        second = allowed.cumsum(-1) - 1  # 0, 1
        return _perceptron(weights, (devices[..., 0],))[..., None] * second


class FlatActor:
    """DROO's network over a whole graph, flattened, with an output for each device and option (`Actor`)."""

    def __init__(self, weights: dict[str, Floats]) -> None:
        self.weights = weights

    @classmethod
    def drawn(cls, like: Graph, seed: int) -> FlatActor:
        """An untrained one, for as many devices and options as this graph has."""
        inputs = like.devices.size + like.options.size + like.edges.size
        return cls(_drawn(inputs, like.allowed.size, seed))

    def logits(self, weights: Weights, devices: Any, options: Any, edges: Any, allowed: Any) -> Any:
        """`[..., U, A]`: a score for every device and option."""
        slots = allowed.shape[:-2]
        flat = tuple(array.reshape(*slots, -1) for array in (devices, options, edges))
        return _perceptron(weights, flat).reshape(allowed.shape) + (1 - allowed) * FORBIDDEN


class Thresholds:
    """DROO's order-preserving quantisation of a decision between two options (`Search`).

    With `x` the probability of the second option: first `x > 0.5`; then, in the order of rising |x - 0.5|, with `v` the
    `x` of that device, `x > v` if `v > 0.5`, else `x >= v`. The number of candidates begins at that of devices; every
    32 frames it becomes two more than the highest index, from 0, that was best among those frames.
    """

    def __init__(self) -> None:
        self._count = 0  # that of devices until it is set
        self._best: deque[int] = deque(maxlen=ADAPT_EVERY)
        self._frames = 0

    def best(self, probabilities: Floats, allowed: npt.NDArray[np.bool_], judge: Judge) -> Decided:
        """The best of the candidates, both options being allowed to every device."""
        choices = self.candidates(probabilities[:, 1])
        rewards = judge(choices)
        found = int(rewards.argmax())
        self.judged(found)
        return Decided(choices[found], float(rewards[found]), float(rewards[0]), len(choices))

    def candidates(self, second: Floats) -> Choices:
        """`[K, U]`, from the probabilities of the second option, `[U]`."""
        count = min(self._count or len(second), len(second))
        values = second[np.argsort(np.abs(second - 0.5), kind="stable")[: count - 1], None]
        beyond = np.where(values > 0.5, second > values, second >= values)
        return np.vstack([second > 0.5, beyond]).astype(np.int64)

    def judged(self, best: int) -> None:
        """Hears which candidate was best, and adapts the number."""
        self._best.append(best)
        self._frames += 1
        if self._frames % ADAPT_EVERY == 0:
            self._count = max(self._best) + 2

    @property
    def state(self) -> list[int]:
        """The number of candidates, the number of frames, and the recent best."""
        return [self._count, self._frames, *self._best]

    @state.setter
    def state(self, state: list[int]) -> None:
        self._count, self._frames, *best = state
        self._best = deque(best, maxlen=ADAPT_EVERY)


def droo(like: Graph, seed: int) -> Learner:
    """An untrained DROO, as published, for as many devices as `like` has, each with two options."""
    if like.allowed.shape[1] != 2 or not like.allowed.all():
        raise PolicyError("droo as published decides between two options, both allowed to every device")
    return Learner(BinaryActor.drawn(like, seed), Thresholds(), PUBLISHED, seed)
