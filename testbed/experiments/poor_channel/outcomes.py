"""What came of each method in each phase, repetition by repetition, read from the ledgers of the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from testbed.experiments.paired import Interval, over_seeds
from testbed.experiments.poor_channel.documents import devices
from testbed.experiments.poor_channel.methods import Method
from testbed.experiments.poor_channel.settings import SETTLE_S, Part
from testbed.jobs.ledger import STAGES

Floats = NDArray[np.float64]


class Outcome(msgspec.Struct, frozen=True, eq=False):
    """The jobs of one method in one phase of one repetition.

    A job counts whose whole life fell into the phase: one that was under way when the links changed saw both. Those
    without an answer, which are told of apart, held their device beyond any phase's end.
    """

    sweep: str
    value: float  # Mbit/s, or a fraction lost
    method: str
    seed: int
    completion_ms: Floats
    correct: NDArray[np.bool_]
    payload_bytes: float  # mean
    stages_ms: dict[str, float]  # the median of each

    @property
    def jobs(self) -> int:
        """How many."""
        return len(self.completion_ms)

    @property
    def median_ms(self) -> float:
        """Median completion time; NaN of no job."""
        return float(np.median(self.completion_ms)) if self.jobs else np.nan

    def success(self, limit_ms: float) -> float:
        """The share of jobs answered within the limit."""
        return float((self.completion_ms <= limit_ms).mean()) if self.jobs else np.nan

    def accuracy(self, limit_ms: float = np.inf) -> float:
        """The share of jobs answered rightly, within the limit."""
        return float((self.correct & (self.completion_ms <= limit_ms)).mean()) if self.jobs else np.nan


class Outcomes(msgspec.Struct, frozen=True):
    """All of them."""

    rows: tuple[Outcome, ...]

    def values(self, sweep: str) -> list[float]:
        """The values of a sweep, ascending."""
        return sorted({row.value for row in self.rows if row.sweep == sweep})

    def of(self, sweep: str, value: float, method: str) -> list[Outcome]:
        """The repetitions of one method in one phase that have jobs, by seed."""
        found = [row for row in self.rows if (row.sweep, row.value, row.method) == (sweep, value, method) and row.jobs]
        return sorted(found, key=lambda row: row.seed)

    def interval(self, sweep: str, value: float, method: str, figure: Callable[[Outcome], float]) -> Interval | None:
        """A figure's mean over the repetitions, with its 95 % interval; None where no job fell into the phase."""
        found = self.of(sweep, value, method)
        return over_seeds([figure(row) for row in found]) if found else None


def read(jobs: pd.DataFrame, methods: Sequence[Method], part: Part, phase_s: float, seed: int) -> list[Outcome]:
    """The outcomes in a run's ledger."""
    answered = jobs[jobs["outcome"].isin(["on_time", "late"])]
    ended_s = answered["arrival_s"] + answered["completion_ms"] / 1e3
    found = []
    for number, phase in enumerate(part.phases):
        within = (answered["arrival_s"] >= number * phase_s + SETTLE_S) & (ended_s <= (number + 1) * phase_s)
        for device, method in devices(methods).items():
            own = answered[within & (answered["device"] == device)]
            completion_ms, correct = own["completion_ms"].to_numpy(float), own["correct"].to_numpy(bool)
            payload_bytes = float(own["payload_bytes"].mean()) if len(own) else np.nan
            stages_ms = {stage: float(own[f"{stage}_ms"].median()) for stage in STAGES}
            figures = completion_ms, correct, payload_bytes, stages_ms
            found.append(Outcome(phase.sweep, phase.value, method.name, seed, *figures))
    return found
