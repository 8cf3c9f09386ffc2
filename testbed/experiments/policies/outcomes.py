"""Everything that was judged, by point, method and seed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from testbed.experiments.paired import Interval, over_seeds
from testbed.experiments.policies.judging import Judged
from testbed.experiments.policies.methods import METHODS

AT_DEFAULTS = "defaults"
AT_OPTIMUM = "optimum"
EXHAUSTIVE = "exhaustive"


class Outcome(msgspec.Struct, frozen=True):
    """A method on the slots of a point and a seed."""

    sweep: str
    value: float
    method: str
    trained_at: int | None  # devices; None where nothing was trained
    seed: int
    judged: Judged


class Outcomes(msgspec.Struct, frozen=True):
    """All of them."""

    rows: tuple[Outcome, ...]

    def values(self, sweep: str, value: float, method: str, figure: str, trained_at: int | None = None) -> list[float]:
        """A figure, seed by seed; none where the method was not judged there. `trained_at`: None, any (the first)."""
        found = [
            row
            for row in self.rows
            if (row.sweep, row.value, row.method) == (sweep, value, method) and trained_at in (None, row.trained_at)
        ]
        at = found[0].trained_at if found else None
        found = sorted((row for row in found if row.trained_at == at), key=lambda row: row.seed)
        return [float(getattr(row.judged, figure)) for row in found]

    def interval(
        self, sweep: str, value: float, method: str, figure: str, trained_at: int | None = None
    ) -> Interval | None:
        """Its mean over the seeds."""
        values = self.values(sweep, value, method, figure, trained_at)
        return over_seeds(values) if values else None

    def methods(self, sweep: str) -> list[str]:
        """Those judged in a sweep, in their order."""
        judged = {row.method for row in self.rows if row.sweep == sweep}
        return [method.name for method in METHODS if method.name in judged]

    def swept(self, sweep: str) -> list[float]:
        """The values of a sweep."""
        return sorted({row.value for row in self.rows if row.sweep == sweep})


def ahead(one: Sequence[float], other: Sequence[float]) -> Interval | None:
    """How far one is above the other, seed by seed."""
    if not one or len(one) != len(other):
        return None
    return over_seeds([float(difference) for difference in np.subtract(one, other)])
