"""The loop that all learners share: an actor suggests, the problem's model judges, and the actor learns its verdicts.

Each slot the actor's probabilities become a few candidates, `SlotProblem.rewards` judges them, and the best is decided.
Its graph and choice are remembered; every so many slots the actor makes one step of cross-entropy on a batch of
memories. The judge is the model itself, so there is no critic to train.

An actor's weights are numpy arrays, so that decisions need no torch; the optimiser's tensors share their memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from testbed.offloading.errors import PolicyError
from testbed.offloading.policy_file import load_arrays, save_arrays
from testbed.offloading.problem import Choices, Floats, Graph, SlotProblem

if TYPE_CHECKING:
    import torch

Judge = Callable[[Choices], npt.NDArray[np.float64]]
"""`SlotProblem.rewards`."""

Weights = Mapping[str, Any]
"""An actor's parameters by name: numpy arrays, or the tensors that share their memory."""

FORBIDDEN = -1e4
"""Added to the score of what is not allowed."""

_TOGETHER = 8192
"""Edges that a step goes through together: what is computed of more leaves the cache, and takes three times as long."""

_FORMAT = "testbed-learner-1"


class Actor(Protocol):
    """Looks at a graph and scores every option of every device."""

    @property
    def weights(self) -> dict[str, Floats]:
        """The parameters, which learning changes in place."""
        ...

    def logits(self, weights: Weights, devices: Any, options: Any, edges: Any, allowed: Any) -> Any:
        """`[..., U, A]`: scores, far below all others where an option is not allowed.

        The arguments are a graph's arrays, or several graphs' stacked, `allowed` as 0 and 1 in float32: of numpy for
        deciding, of torch for learning, and written so that both will do.
        """
        ...


class Decided(msgspec.Struct, frozen=True):
    """One slot's decision."""

    choice: npt.NDArray[np.int64]  # [U]
    reward: float  # by the problem's model
    own_reward: float  # of the actor's own choice
    candidates: int  # judged


class Search(Protocol):
    """Turns an actor's probabilities into candidates, has them judged, and decides for the best."""

    def best(self, probabilities: Floats, allowed: npt.NDArray[np.bool_], judge: Judge) -> Decided:
        """The decision. The first candidate is the actor's own; probabilities and what is allowed are `[U, A]`."""
        ...

    @property
    def state(self) -> list[int]:
        """What is carried from slot to slot; assigned to, it goes on from there."""
        ...

    @state.setter
    def state(self, state: list[int]) -> None: ...


class Learning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an actor learns."""

    learning_rate: float = 1e-3  # Adam's
    betas: tuple[float, float] = (0.9, 0.999)  # Adam's
    weight_decay: float = 0.0  # Adam's: added to the gradient
    anew: bool = False  # Adam forgets its moments before every step, which then goes by the gradients' signs
    memory: int = 1024  # slots remembered; the oldest is forgotten first
    batch: int = 128  # slots that a step learns from
    every: int = 10  # slots between steps


def probabilities(actor: Actor, graph: Graph) -> Floats:
    """`[U, A]`: how probable the actor holds each option to be the best; 0 where it is not allowed."""
    logits: Floats = actor.logits(actor.weights, *graph[:3], graph.allowed.astype(np.float32))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def decide(actor: Actor, search: Search, problem: SlotProblem) -> Decided:
    """The best, by the problem's model, of what the search finds worth trying."""
    graph = problem.graph
    return search.best(probabilities(actor, graph), graph.allowed, problem.rewards)


def linear(rng: np.random.Generator, name: str, inputs: int, outputs: int) -> dict[str, Floats]:
    """A linear map's weights `NAME`, [inputs, outputs], and `NAME.bias`, drawn as torch draws them."""
    bound = 1 / np.sqrt(inputs)
    return {
        name: rng.uniform(-bound, bound, (inputs, outputs)).astype(np.float32),
        f"{name}.bias": rng.uniform(-bound, bound, outputs).astype(np.float32),
    }


class Learner:
    """An actor that learns while it decides. The same seed and the same slots give the same decisions and losses."""

    def __init__(self, actor: Actor, search: Search, learning: Learning, seed: int) -> None:
        self.actor = actor
        self.search = search
        self.learning = learning
        self.slots = 0  # learnt from
        self.losses: list[float] = []  # cross-entropy, nats a device, one a step
        self._rng = np.random.default_rng(seed)
        self._memory: list[tuple[Graph, npt.NDArray[np.int64]]] = []  # slot n at n % learning.memory
        self._tensors: dict[str, torch.Tensor] = {}
        self._optimiser: torch.optim.Adam | None = None  # made at the first step: who only decides needs no torch

    def decide(self, problem: SlotProblem) -> Decided:
        """Decides a slot without learning from it."""
        return decide(self.actor, self.search, problem)

    def learn(self, problem: SlotProblem) -> Decided:
        """Decides a slot, remembers it and, every so many slots, makes a step."""
        graph = problem.graph
        decided = self.search.best(probabilities(self.actor, graph), graph.allowed, problem.rewards)
        place = self.slots % self.learning.memory
        self._memory[place : place + 1] = [(graph, decided.choice)]
        self.slots += 1
        if self.slots % self.learning.every == 0:
            self.losses.append(self._step())
        return decided

    def _step(self) -> float:
        """One step of Adam on the mean cross-entropy of a batch drawn from the memory with replacement."""
        import torch
        from torch.nn.functional import cross_entropy

        optimiser = self._adam()
        picked = self._rng.integers(len(self._memory), size=self.learning.batch)
        sizes: dict[tuple[int, ...], list[int]] = {}
        for index in picked:
            sizes.setdefault(self._memory[index][0].allowed.shape, []).append(int(index))
        devices = sum(shape[0] * len(indices) for shape, indices in sizes.items())
        optimiser.zero_grad()
        loss = 0.0
        for indices in _stackable(sizes):
            graphs, choices = zip(*(self._memory[index] for index in indices), strict=True)
            stacked = [
                torch.from_numpy(np.stack(arrays).astype(np.float32, copy=False))
                for arrays in zip(*graphs, strict=True)
            ]
            logits = self.actor.logits(self._tensors, *stacked)
            wanted = torch.from_numpy(np.stack(choices))
            part = cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum") / devices
            part.backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
        optimiser.step()
        return loss

    def _adam(self) -> torch.optim.Adam:
        if self._optimiser is None or self.learning.anew:
            import torch

            for name, array in self.actor.weights.items():
                self._tensors[name] = torch.from_numpy(array).requires_grad_()
            self._optimiser = torch.optim.Adam(
                self._tensors.values(),
                lr=self.learning.learning_rate,
                betas=self.learning.betas,
                weight_decay=self.learning.weight_decay,
            )
        return self._optimiser

    def save(self, path: Path) -> None:
        """Writes all that learning on from here depends on: safetensors, with JSON as metadata; replaces `path`."""
        arrays = {f"weights/{name}": array for name, array in self.actor.weights.items()}
        if self._optimiser is not None:
            for name, tensor in self._tensors.items():
                for key, value in self._optimiser.state[tensor].items():
                    arrays[f"adam/{name}/{key}"] = value.numpy()
        if self._memory:
            graphs, choices = zip(*self._memory, strict=True)
            arrays["memory/choices"] = np.concatenate(choices)
            for field in Graph._fields:
                arrays[f"memory/{field}"] = np.concatenate([getattr(graph, field).ravel() for graph in graphs])
        state = _State(
            learning=self.learning,
            slots=self.slots,
            losses=self.losses,
            rng=json.dumps(self._rng.bit_generator.state),
            search=self.search.state,
            shapes=[[array.shape for array in graph] for graph, _ in self._memory],
        )
        save_arrays(path, arrays, _FORMAT, msgspec.json.encode(state).decode())

    def restore(self, path: Path) -> None:
        """Goes on exactly where the learner that wrote `path` was; this one must have been made as that one was.

        Raises:
            PolicyError: it cannot be read, or was written by a learner made otherwise.
        """
        arrays, described = load_arrays(path, _FORMAT)
        try:
            state = msgspec.json.decode(described, type=_State)
        except msgspec.DecodeError as error:
            raise PolicyError(f"{path}: not a learner's state: {error}") from None
        shapes = {f"weights/{name}": array.shape for name, array in self.actor.weights.items()}
        if state.learning != self.learning or shapes != {
            name: array.shape for name, array in arrays.items() if name.startswith("weights/")
        }:
            raise PolicyError(f"{path}: the state of a learner with other settings or another actor; begin a new one")
        for name, array in self.actor.weights.items():
            array[:] = arrays[f"weights/{name}"]
        self._restore_adam(arrays)
        self._memory = _unpacked(arrays, state.shapes)
        self.slots, self.losses, self.search.state = state.slots, state.losses, state.search
        self._rng.bit_generator.state = json.loads(state.rng)

    def _restore_adam(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._optimiser = None
        moments = [name.removeprefix("adam/") for name in arrays if name.startswith("adam/")]
        if moments:
            import torch

            state = self._adam().state
            for name in moments:
                weight, _, key = name.rpartition("/")
                state[self._tensors[weight]][key] = torch.from_numpy(arrays[f"adam/{name}"].copy())


def _stackable(slots: Mapping[tuple[int, ...], list[int]]) -> Iterator[list[int]]:
    """Slots by the shape of their choices, in lists of one shape and no more edges than go together."""
    for shape, indices in slots.items():
        together = max(1, _TOGETHER // math.prod(shape))
        for first in range(0, len(indices), together):
            yield indices[first : first + together]


class _State(msgspec.Struct, frozen=True):
    """What of a learner is not arrays."""

    learning: Learning
    slots: int
    losses: list[float]
    rng: str  # JSON: its integers are too long for msgspec
    search: list[int]
    shapes: list[list[tuple[int, ...]]]  # of each remembered graph's arrays


def _unpacked(
    arrays: Mapping[str, npt.NDArray[Any]], shapes: list[list[tuple[int, ...]]]
) -> list[tuple[Graph, npt.NDArray[np.int64]]]:
    memory, read = [], dict.fromkeys((*Graph._fields, "choices"), 0)

    def take(field: str, shape: tuple[int, ...]) -> Any:
        start = read[field]
        read[field] += math.prod(shape)
        return arrays[f"memory/{field}"][start : read[field]].reshape(shape)

    for of_graph in shapes:
        graph = Graph(*(take(field, shape) for field, shape in zip(Graph._fields, of_graph, strict=True)))
        memory.append((graph, take("choices", of_graph[0][:1])))
    return memory
