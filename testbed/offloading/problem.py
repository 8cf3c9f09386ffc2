"""One slot's decision, as learners see it: a graph to look at, and a model that judges what could be decided."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Choices = npt.NDArray[np.int64]
"""Decisions, `[K, U]`: for each device the number of its option."""


class Graph(NamedTuple):
    """What is known when a slot is decided: devices and options as nodes, and between each two an edge.

    The numbers of devices U and of options A are those of the slot; the numbers of features are the problem's.
    """

    devices: Floats  # [U, device features]
    options: Floats  # [A, option features]
    edges: Floats  # [U, A, edge features]
    allowed: npt.NDArray[np.bool_]  # [U, A]; every device has at least one option


class SlotProblem(Protocol):
    """The decision of one slot for all devices together."""

    @property
    def graph(self) -> Graph:
        """What an actor sees."""
        ...

    def rewards(self, choices: Choices) -> npt.NDArray[np.float64]:
        """`[K]`: what each of the decisions is worth by the model, resources allotted as well as they can be, on what
        is known when deciding; more is better. Choices that are not allowed are a caller's error.
        """
        ...
