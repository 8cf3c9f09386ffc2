"""What a checkpoint's options are worth: accuracy and payload bytes over a set of photographs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import msgspec
import numpy as np

from testbed.aecnn.inference import JPEG, SplitModel
from testbed.aecnn.photographs import Photographs
from testbed.jobs.decision import Option


class Worth(msgspec.Struct, frozen=True):
    """One option over all photographs: shares of right answers, and payload bytes."""

    accuracy: float
    mean_class_accuracy: float
    payload_mean: float
    payload_p95: float


class EvaluatedPoint(msgspec.Struct, frozen=True):
    """One operating point. The uncompressed network has nulls, and the bytes of the photograph's JPEG as payload."""

    split: str | None
    kept_channels: int | None
    bits: int | None
    nominal_ratio: float | None
    payload_mean: float
    payload_p95: float
    accuracy: float
    mean_class_accuracy: float


class Evaluation(msgspec.Struct, frozen=True):
    """A checkpoint over `n` photographs: what `testbed evaluate --json` prints."""

    checkpoint: str
    images: str
    n: int
    points: tuple[EvaluatedPoint, ...]


def evaluate_points(
    model: SplitModel, photographs: Photographs, checkpoint: str, images: str, progress: Callable[[float], None]
) -> Evaluation:
    """The uncompressed network and every operating point over all the photographs; the names are as the user gave them.

    `progress` is told the share of photographs done.
    """
    worth = measure_worth(model, photographs, progress)
    points = tuple(
        EvaluatedPoint(
            option.point.split if option.point else None,
            option.point.kept_channels if option.point else None,
            option.point.bits if option.point else None,
            model.nominal_ratio(option),
            worth[option].payload_mean,
            worth[option].payload_p95,
            worth[option].accuracy,
            worth[option].mean_class_accuracy,
        )
        for option in model.options
        if option.point or option == JPEG
    )
    return Evaluation(checkpoint, images, len(photographs), points)


def measure_worth(
    model: SplitModel, photographs: Photographs, progress: Callable[[float], None]
) -> dict[Option, Worth]:
    """Accuracy and payload bytes of every option over all the photographs."""
    right: dict[Option, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    sizes: dict[Option, list[int]] = defaultdict(list)
    for one in model.prepare(photographs, range(len(photographs)), progress):
        label = photographs.label(one.image)
        right[one.option][label].append(one.predicted == label)
        sizes[one.option].append(len(one.payload))
    return {
        option: Worth(
            float(np.mean([answer for answers in right[option].values() for answer in answers])),
            float(np.mean([np.mean(answers) for answers in right[option].values()])),
            float(np.mean(sizes[option])),
            float(np.percentile(sizes[option], 95)),
        )
        for option in model.options
    }
