"""Classes of jobs: which each job is of, and the deadline that it has by that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from testbed.documents.workload import Workload, rest_of


class Kind(NamedTuple):
    """What a job is of: a class, or none."""

    name: str | None
    deadline_s: float


class Classes:
    """The classes of a workload, and the rest of its jobs."""

    def __init__(self, workload: Workload) -> None:
        shares = {Kind(name, each.deadline_s): each.share for name, each in workload.classes.items()}
        if rest := rest_of(workload.classes):
            shares[Kind(None, workload.deadline_s)] = rest
        self._kinds, self._bounds = list(shares), np.cumsum(list(shares.values()))[:-1]

    def drawn(self, draw: np.random.Generator) -> Iterator[Kind]:
        """Job after job, each of a class with the probability of its share."""
        while True:
            yield self._kinds[int(np.searchsorted(self._bounds, draw.random(), side="right"))]
