"""Studies with known truths: networks that answer each photograph with a chance of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from testbed.aecnn.outcomes import Curve, Outcome, Ranking, Study, packed
from testbed.jobs.decision import LOCAL, Kind, OperatingPoint, Option
from testbed.jobs.profile import Profile, ProfileRow

PHOTOGRAPHS = 600

Planted = dict[tuple[Option, str], tuple[float, float]]
"""By option and variant: the accuracy and the mean bytes."""


def split(encoding: str, at: str, kept: int, bits: int) -> Option:
    return Option(Kind.SPLIT, encoding, OperatingPoint(at, kept, bits))


def full(encoding: str) -> Option:
    return Option(Kind.FULL, encoding)


SPLITS: Planted = {
    (split("aecnn", "layer3", 8, 2), ""): (0.86, 90),
    (split("aecnn", "layer3", 16, 2), ""): (0.90, 200),
    (split("aecnn", "layer3", 16, 4), ""): (0.92, 400),
    (split("aecnn", "layer3", 64, 6), ""): (0.93, 2100),
    (split("bottlenet++", "layer3", 16, 2), ""): (0.84, 200),
    (split("bottlenet++", "layer3", 64, 4), ""): (0.87, 1500),
}
PHOTOGRAPHS_WHOLE: Planted = {
    (LOCAL, ""): (0.935, 0),
    (full("jpeg-5"), ""): (0.70, 700),
    (full("jpeg-5"), "tuned"): (0.80, 700),
    (full("jpeg-20"), "tuned"): (0.86, 1600),
    (full("webp-5"), ""): (0.80, 500),
}


@pytest.fixture(scope="session")
def planted() -> Planted:
    return {**PHOTOGRAPHS_WHOLE, **SPLITS}


def study(
    planted: Planted, seed: int, curves: Sequence[Curve] = (), rankings: Sequence[Ranking] = (), checkpoint: str = ""
) -> Study:
    """A study whose photographs are as hard for every option, which answers those below its accuracy, with noise."""
    rng = np.random.default_rng(1)  # the photographs are the same for all seeds
    hardness = rng.permutation(np.linspace(0, 1, PHOTOGRAPHS))
    noise = np.random.default_rng(seed)
    outcomes = []
    for (option, variant), (accuracy, size) in planted.items():
        right = hardness + noise.normal(0, 0.02, PHOTOGRAPHS) < accuracy
        sizes = np.rint(noise.normal(size, 0.05 * size, PHOTOGRAPHS))
        point = option.point
        ratio = 512 / point.kept_channels * 32 / point.bits if point else None
        sent = tuple(int(one) for one in sizes)
        outcomes.append(Outcome(option, variant, packed(right), sent, ratio, validation_accuracy=accuracy))
    return Study(
        seed,
        "",
        tuple(f"class/image_{number:04d}.jpg" for number in range(PHOTOGRAPHS)),
        (0,) * PHOTOGRAPHS,
        tuple(outcomes),
        tuple(curves),
        tuple(rankings),
        checkpoint,
    )


@pytest.fixture
def studies_of() -> Callable[..., list[Study]]:
    """Three seeds of one plan."""

    def make(planted: Planted, seeds: Sequence[int] = (1, 2, 3)) -> list[Study]:
        return [study(planted, seed) for seed in seeds]

    return make


@pytest.fixture(scope="session")
def profile() -> Profile:
    """A profile of round numbers: half of the network before layer3's end."""

    def row(
        option: Option, accuracy: float, payload: float, head: float, tail: float, ratio: float | None = None
    ) -> ProfileRow:
        return ProfileRow(
            option,
            ratio,
            accuracy,
            accuracy,
            payload,
            payload,
            head,
            0.0,
            0.0,
            tail,
            head / 1e10,
            0.0,
            0.0,
            tail / 1e10,
        )

    whole = 700e6
    return Profile(
        "0" * 64,
        "sample",
        PHOTOGRAPHS,
        128,
        1e10,
        (
            row(LOCAL, 0.935, 0, whole, 0),
            row(full("raw"), 0.935, 49152, 0, whole),
            row(full("jpeg"), 0.934, 5000, 0, whole),
            row(split("aecnn", "layer2", 16, 4), 0.90, 1700, 0.4 * whole, 0.6 * whole, 128),
            row(split("aecnn", "layer3", 16, 4), 0.92, 400, 0.7 * whole, 0.3 * whole, 256),
            row(split("aecnn", "layer3", 64, 6), 0.93, 2000, 0.7 * whole, 0.3 * whole, 42),
            row(split("bottlenet++", "layer3", 16, 4), 0.99, 10, 0, 0, 256),
        ),
    )
