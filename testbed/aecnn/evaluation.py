"""What a checkpoint's options are worth: accuracy and payload bytes over a set of photographs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from testbed.aecnn.model import CoInferenceModel
from testbed.aecnn.outcomes import Outcome, packed
from testbed.aecnn.photographs import Photographs
from testbed.jobs.decision import LOCAL, RAW, Kind, Option
from testbed.jobs.intervals import mean_of_shares_interval, wilson_interval


class Worth(msgspec.Struct, frozen=True):
    """One option over all photographs: shares of right answers, and payload bytes."""

    accuracy: float
    mean_class_accuracy: float
    payload_mean: float
    payload_p95: float
    accuracy_interval: tuple[float, float]  # 95 %
    mean_class_interval: tuple[float, float]


class EvaluatedPoint(msgspec.Struct, frozen=True):
    """One option. The uncompressed network is `full` as `jpeg`: nulls, and the bytes of the photograph's JPEG."""

    kind: Kind
    encoding: str
    split: str | None
    kept_channels: int | None
    bits: int | None
    nominal_ratio: float | None
    payload_mean: float
    payload_p95: float
    accuracy: float
    accuracy_interval: tuple[float, float]  # 95 %
    mean_class_accuracy: float
    mean_class_interval: tuple[float, float]


class Evaluation(msgspec.Struct, frozen=True):
    """A checkpoint over `n` photographs: what `testbed evaluate --json` prints."""

    checkpoint: str
    images: str
    n: int
    points: tuple[EvaluatedPoint, ...]  # the uncompressed network, then the operating points
    others: tuple[EvaluatedPoint, ...] = ()  # rivals' operating points, early exits, photographs compressed once more


def evaluate_points(
    model: CoInferenceModel, photographs: Photographs, checkpoint: str, images: str, progress: Callable[[float], None]
) -> Evaluation:
    """The uncompressed network and every operating point over all the photographs; the names are as the user gave them.

    `progress` is told the share of photographs done.
    """
    worth = measure_worth(model, photographs, progress)

    def evaluated(option: Option) -> EvaluatedPoint:
        one, point = worth[option], option.point
        return EvaluatedPoint(
            option.kind,
            option.encoding,
            point.split if point else None,
            point.kept_channels if point else None,
            point.bits if point else None,
            model.nominal_ratio(option),
            one.payload_mean,
            one.payload_p95,
            one.accuracy,
            one.accuracy_interval,
            one.mean_class_accuracy,
            one.mean_class_interval,
        )

    told = [option for option in model.options if option not in (LOCAL, RAW)]  # they answer as the JPEG does
    points = tuple(evaluated(option) for option in told if option not in model.comparisons)
    others = tuple(evaluated(option) for option in told if option in model.comparisons)
    return Evaluation(checkpoint, images, len(photographs), points, others)


def measure_worth(
    model: CoInferenceModel, photographs: Photographs, progress: Callable[[float], None]
) -> dict[Option, Worth]:
    """Accuracy and payload bytes of every option over all the photographs."""
    every = range(len(photographs))
    labels = np.array([photographs.label(index) for index in every])
    return {one.option: worth_of(one, labels) for one in outcomes_of(model, photographs, every, progress)}


def outcomes_of(
    model: CoInferenceModel,
    photographs: Photographs,
    indices: Sequence[int],
    progress: Callable[[float], None],
    *,
    options: Sequence[Option] | None = None,
    variant: str = "",
) -> list[Outcome]:
    """What became of each of these photographs under the options, or every one; `progress` is told the share done."""
    options = model.options if options is None else options
    right: dict[Option, list[bool]] = defaultdict(list)
    sizes: dict[Option, list[int]] = defaultdict(list)
    for one in model.prepare(photographs, indices, progress, options):
        right[one.option].append(one.predicted == photographs.label(one.image))
        sizes[one.option].append(len(one.payload))
    return [
        Outcome(option, variant, packed(np.array(right[option])), tuple(sizes[option]), model.nominal_ratio(option))
        for option in options
    ]


def worth_of(outcome: Outcome, labels: NDArray[np.int64]) -> Worth:
    """One option over photographs of these labels."""
    right = outcome.right()
    groups = [right[labels == label] for label in np.unique(labels)]
    successes, trials = [int(group.sum()) for group in groups], [len(group) for group in groups]
    return Worth(
        float(right.mean()),
        float(np.mean([group.mean() for group in groups])),
        float(np.mean(outcome.payload_bytes)),
        float(np.percentile(outcome.payload_bytes, 95)),
        wilson_interval(sum(successes), sum(trials)),
        mean_of_shares_interval(successes, trials),
    )
