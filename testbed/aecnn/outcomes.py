"""What a study of compression leaves: for every method and operating point, what became of each test photograph."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from testbed.jobs.decision import Option

REFERENCE = "reference"
"""The variant that differs from every ablation in one thing alone: trained as they are, for as long as they are."""


class Outcome(msgspec.Struct, frozen=True):
    """One row of a study over the test photographs, in their order.

    `variant` tells apart what was trained differently: "" is the method as shipped, others are `REFERENCE`, ablations,
    and "tuned": the network fine-tuned on photographs that were compressed once more.
    """

    option: Option
    variant: str
    answers: bytes  # a bit for each photograph, most significant first: whether the class was right
    payload_bytes: tuple[int, ...]  # for each photograph
    nominal_ratio: float | None = None
    encoder_flops: float | None = None  # on the device, beside the head's
    head_flops: float | None = None
    validation_accuracy: float | None = None  # by which operating points are chosen; None where nothing was validated

    def right(self) -> NDArray[np.bool_]:
        """`[photographs]`: whether the class was right."""
        return np.unpackbits(np.frombuffer(self.answers, np.uint8), count=len(self.payload_bytes)).astype(np.bool_)


class Curve(msgspec.Struct, frozen=True):
    """How one training went: accuracy on the validation photographs after so many passes over the training ones.

    All passes count, those of earlier steps too. A curve begins with the first that leaves something to use.
    """

    name: str  # what was trained, and how: "layer3 step by step" (or "layer3 reference") meets "layer3 end to end"
    passes: tuple[float, ...]
    accuracy: tuple[float, ...]


class Ranking(msgspec.Struct, frozen=True):
    """Importances of a split's channels, `[C]`, over all training photographs and over those of each class."""

    split: str
    by: str  # attention, activation, l1, random
    importances: tuple[float, ...]
    of_classes: tuple[tuple[float, ...], ...]  # [classes, C]


class Study(msgspec.Struct, frozen=True):
    """One seed's training, all its methods, over the same test photographs."""

    seed: int
    backbone: str  # SHA-256 of its weights
    photographs: tuple[str, ...]  # names of the test photographs
    labels: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    curves: tuple[Curve, ...] = ()
    rankings: tuple[Ranking, ...] = ()
    checkpoint: str = ""  # SHA-256 of the checkpoint that holds what has no variant; "" if none was written

    def save(self, path: Path) -> None:
        """Write it as JSON, importances with 5 digits: a third of the size."""
        rankings = tuple(
            msgspec.structs.replace(
                ranking,
                importances=_shortened(ranking.importances),
                of_classes=tuple(map(_shortened, ranking.of_classes)),
            )
            for ranking in self.rankings
        )
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(self, rankings=rankings)) + b"\n")

    @classmethod
    def load(cls, path: Path) -> Study:
        """Read what `save` wrote. Raises msgspec.DecodeError, OSError."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


def _shortened(importances: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(f"{importance:.5g}") for importance in importances)


def packed(right: NDArray[np.bool_]) -> bytes:
    """`[photographs]` of right answers as an outcome holds them."""
    return np.packbits(right).tobytes()
