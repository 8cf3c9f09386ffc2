"""GRL: decisions by a graph convolutional network, the problem's own model judging a few candidates a slot.

The graph is bipartite: every device is joined to every option by an edge, and the arrays are dense. A message on an
edge is made from its device, its option and its own features; devices and options take the mean of theirs, twice; then
each edge is scored, and a softmax over a device's allowed options gives probabilities. Weights belong to layers and not
to nodes, so a policy trained with some devices and options decides for any number of them.

How candidates are chosen, how they are judged and how the actor learns from the verdicts: `Switches` below, `learner`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.offloading.learner import FORBIDDEN, Decided, Judge, Learner, Learning, Weights, linear
from testbed.offloading.problem import Choices, Floats, Graph
from testbed.offloading.switching import gaining, switched, together

WIDTHS = (128, 64)
"""Of the message-passing layers."""

BLOCK = 512
"""Edges gone through together when deciding: 256 KiB of what the wider layer computes of them."""

CANDIDATES = 32
"""Of a kind, judged at a time. A constant, so that a decision's time grows no faster than devices times options."""

ROUNDS = 2
"""Rounds of candidates a slot, up to 10 devices; two more for each doubling. Few and large: a model's call takes much
the same for one candidate and for many."""


class GraphActor:
    """The network: two message-passing layers and a scorer of edges (`Actor`)."""

    def __init__(self, weights: dict[str, Floats]) -> None:
        self.weights = weights

    @classmethod
    def drawn(cls, like: Graph, seed: int, widths: tuple[int, int] = WIDTHS) -> GraphActor:
        """An untrained one, for graphs with the features of this one, whatever its size."""
        rng = np.random.default_rng(seed)
        device, option, edge = like.devices.shape[1], like.options.shape[1], like.edges.shape[2]
        weights: dict[str, Floats] = {}
        for layer, width in enumerate(widths):
            weights |= _joining(rng, f"{layer}.message", (device, option, edge), width)
            for role, inputs in (("device", device), ("option", option)):
                weights |= linear(rng, f"{layer}.{role}", inputs, width)
                weights |= linear(rng, f"{layer}.to_{role}", width, width)
            device = option = width
        weights |= _joining(rng, "score", (device, option, edge), widths[-1])
        weights |= linear(rng, "out", widths[-1], 1)
        return cls(weights)

    def logits(self, weights: Weights, devices: Any, options: Any, edges: Any, allowed: Any) -> Any:
        """`[..., U, A]`: a score for every edge."""

        def apply(name: str, inputs: Any) -> Any:
            return inputs @ weights[name] + weights[f"{name}.bias"]

        def joined(name: str, devices: Any, options: Any, edges: Any) -> Any:
            """`[..., U, A, width]`: what a device, an option and their edge give together."""
            total = apply(f"{name}.edge", edges)
            total += apply(f"{name}.device", devices)[..., :, None, :]
            total += apply(f"{name}.option", options)[..., None, :, :]
            return _relu(total)

        per_device = allowed / allowed.sum(-1)[..., None].clip(min=1)
        per_option = allowed / allowed.sum(-2)[..., None, :].clip(min=1)
        blocks = _blocks(edges)
        known = [devices[..., block, :] for block in blocks]
        for layer in ("0", "1"):
            updated, to_options = [], 0
            for block, devices in zip(blocks, known, strict=True):
                messages = joined(f"{layer}.message", devices, options, edges[..., block, :, :])
                to_options = to_options + (per_option[..., block, :, None] * messages).sum(-3)
                to_devices = (per_device[..., block, None, :] @ messages)[..., 0, :]
                heard = apply(f"{layer}.device", devices) + apply(f"{layer}.to_device", to_devices)
                updated.append(_relu(heard))
            known = updated
            heard = apply(f"{layer}.option", options) + apply(f"{layer}.to_option", to_options)
            options = _relu(heard)
        scores = [
            apply("out", joined("score", devices, options, edges[..., block, :, :]))[..., 0]
            for block, devices in zip(blocks, known, strict=True)
        ]
        return (scores[0] if len(scores) == 1 else np.concatenate(scores, axis=-2)) + (1 - allowed) * FORBIDDEN


def _joining(rng: np.random.Generator, name: str, inputs: tuple[int, int, int], width: int) -> dict[str, Floats]:
    weights: dict[str, Floats] = {}
    for role, size in zip(("device", "option", "edge"), inputs, strict=True):
        weights |= linear(rng, f"{name}.{role}", size, width)
    return weights


def _relu(values: Any) -> Any:
    return np.maximum(values, 0, out=values) if isinstance(values, np.ndarray) else values.relu()


def _blocks(edges: Any) -> list[slice]:
    """Devices to go through together: when deciding, so few that what is computed of their edges stays in the cache."""
    devices, options = edges.shape[-3:-1]
    size = max(1, BLOCK // options) if isinstance(edges, np.ndarray) else devices
    return [slice(start, start + size) for start in range(0, devices, size)]


class Switches:
    """Order-preserving candidates among many options, a few rounds of them (`Search`).

    The first round begins with the most probable option of every device. Then, in the order of rising margin between
    a device's best and second option, that device is switched to its second, together with the less certain ones that
    hesitate between the same two: with two options, these are DROO's thresholds. The rest are drawn from the
    probabilities, without which an actor whose every switch is worth nothing would believe its first choice for ever.

    If rounds follow, the first also has the own choice with ever more devices switched to the option that is the most
    probable on average, often local computing: among more devices than it learnt with, an actor may send too many to an
    edge, and while all are late there no switch of one gains much.

    In each further round single devices are switched from the best candidate so far to other options, in the order of
    rising ratio of the two probabilities; what was tried is not tried again. Then the switches that gain are made
    together: the best two, the best three, and so on.
    """

    def __init__(self, seed: int, candidates: int = CANDIDATES, rounds: int = ROUNDS) -> None:
        self.candidates, self.rounds = candidates, rounds
        self._seed = seed
        self._slots = 0

    def best(self, probabilities: Floats, allowed: npt.NDArray[np.bool_], judge: Judge) -> Decided:
        """The best of `candidates` and some thresholds, and of at most twice as many in each round that follows."""
        tried = self._first(probabilities, allowed)
        further = self.rounds - 1
        if further:
            further += 2 * ((len(allowed) - 1) // 10).bit_length()
            tried = np.vstack([tried, _thresholds(probabilities, allowed, tried[0])])
        rewards = judge(tried)
        found, own, judged = int(rewards.argmax()), float(rewards[0]), len(tried)
        choice, reward = tried[found], float(rewards[found])
        logarithm = np.log(np.maximum(probabilities, 1e-12))
        untried = allowed.copy()
        everyone = np.arange(len(choice))
        for _ in range(further):
            ratio = np.where(untried, logarithm[everyone, choice][:, None] - logarithm, np.inf)
            ratio[everyone, choice] = np.inf
            nearest = np.argsort(ratio, axis=None, kind="stable")[: self.candidates]
            devices, options = np.divmod(nearest[np.isfinite(ratio.ravel()[nearest])], allowed.shape[1])
            if not len(devices):
                break
            untried[devices, options] = False
            rewards = judge(switched(choice, devices, options))
            judged += len(devices)
            gained = gaining(rewards - reward, devices, self.candidates)
            if not len(gained):
                continue
            tried, rewards = together(choice, devices[gained], options[gained]), rewards[gained[:1]]
            if len(tried) > 1:
                rewards = np.append(rewards, judge(tried[1:]))
                judged += len(tried) - 1
            choice, reward = tried[rewards.argmax()], float(rewards.max())
        return Decided(choice, reward, own, judged)

    def _first(self, probabilities: Floats, allowed: npt.NDArray[np.bool_]) -> Choices:
        """`[candidates, U]`."""
        everyone = np.arange(len(allowed))
        ranked = np.where(allowed, probabilities, -1.0)
        best = ranked.argmax(axis=1)
        margin = ranked[everyone, best]
        ranked[everyone, best] = -1.0
        second = ranked.argmax(axis=1)
        margin = np.where(ranked[everyone, second] < 0, np.inf, margin - ranked[everyone, second])
        doubted = np.argsort(margin, kind="stable")[: self.candidates // 2]
        doubted = doubted[np.isfinite(margin[doubted])]
        pair = best[doubted] * allowed.shape[1] + second[doubted]
        together = (pair[:, None] == pair) & np.tri(len(pair), dtype=np.bool_)  # [candidate, doubted device]

        choices = np.tile(best, (self.candidates, 1))
        candidate, device = np.nonzero(together)
        choices[1 + candidate, doubted[device]] = second[doubted[device]]
        drawn = choices[1 + len(doubted) :]
        rng = np.random.default_rng([self._seed, self._slots])
        self._slots += 1
        cumulated = np.where(allowed, probabilities, 0.0).cumsum(axis=1)
        below = rng.random((*drawn.shape, 1)) * cumulated[:, -1:]
        drawn[:] = (cumulated <= below).sum(axis=2)
        return choices

    @property
    def state(self) -> list[int]:
        """The seed and how many slots were decided, on which all that is drawn depends."""
        return [self._seed, self._slots]

    @state.setter
    def state(self, state: list[int]) -> None:
        self._seed, self._slots = state


def _thresholds(probabilities: Floats, allowed: npt.NDArray[np.bool_], choice: npt.NDArray[np.int64]) -> Choices:
    """`[K, U]`: a choice with devices switched to the option that is the most probable one on average, in the order of
    rising ratio of the two probabilities: one device, two, four, ..., all but four, two, one, and all.
    """
    everyone = np.arange(len(choice))
    common = probabilities.mean(axis=0).argmax()
    allowing = np.flatnonzero(allowed[:, common])
    ratio = probabilities[everyone, choice][allowing] / np.maximum(probabilities[allowing, common], 1e-12)
    order = allowing[np.argsort(ratio, kind="stable")]
    powers = {2**power for power in range((len(order) - 1).bit_length())}
    lengths = sorted({*powers, *(len(order) - few for few in powers), len(order)})
    made = np.tile(choice, (len(lengths), 1))
    for row, length in zip(made, lengths, strict=True):
        row[order[:length]] = common
    return made


def grl(
    like: Graph,
    seed: int,
    learning: Learning | None = None,
    candidates: int = CANDIDATES,
    rounds: int = ROUNDS,
) -> Learner:
    """An untrained GRL learner for graphs with the features of `like`."""
    search = Switches(seed, candidates, rounds)
    return Learner(GraphActor.drawn(like, seed), search, learning or Learning(), seed)
