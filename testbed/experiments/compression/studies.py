"""The studies of several seeds as one: every operating point over all seeds and the same test photographs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from testbed.aecnn.outcomes import Curve, Outcome, Ranking, Study
from testbed.aecnn.photographs import INPUT_PX
from testbed.aecnn.resnet import stage_channels, stage_px
from testbed.aecnn.rivals.deepjscc import SAMPLE_BITS, SNR_DB
from testbed.experiments.paired import Floats
from testbed.jobs.decision import LOCAL, Kind, Option

COMMITTED = Path(__file__).parents[1] / "data"
"""Where the studies lie that the published figures are made from: `compression-seedN.json`."""

NAMES = {
    "": "uncompressed",
    "aecnn": "AECNN",
    "bottlenet++": "BottleNet++",
    "deepjscc": "DeepJSCC",
    "entropic-student": "Entropic Student",
    "pca": "PCA of channels",
    "random": "random channels",
    "jpeg": "JPEG",
    "webp": "WebP",
}
"""Methods as tables name them."""


ANALOGUE = "deepjscc"
"""The method that sends an analogue signal's samples, disturbed by noise that is drawn by each photograph's number."""

CARRIED = math.log2(1 + 10 ** (SNR_DB / 10)) / 2 / SAMPLE_BITS
"""Bits that a real use of its channel can carry (Shannon), over those that stand for a sample."""


SANITY = ("pca", "random")
"""Methods that every learned one should beat."""


class StudyError(ValueError):
    """Studies cannot be read, or do not belong together."""


class Point(msgspec.Struct, frozen=True, eq=False, dict=True):
    """One option of one variant over all seeds. Seeds that lack it have rows of NaN."""

    option: Option
    variant: str
    right: Floats  # [seeds, photographs], 0 or 1
    payload_bytes: Floats  # [seeds, photographs]
    nominal_ratio: float | None
    encoder_flops: float | None
    head_flops: float | None
    validation: Floats  # [seeds], accuracy on the validation photographs

    @property
    def method(self) -> str:
        """What compresses: "aecnn", "jpeg", ...; "" nothing."""
        if self.option.kind is Kind.FULL:
            return self.option.encoding.partition("-")[0]
        return self.option.encoding

    @property
    def split(self) -> str | None:
        """The stage after which the network is split."""
        return self.option.point.split if self.option.point else None

    @property
    def label(self) -> str:
        """The operating point as tables have it."""
        return str(self.option.point) if self.option.point else self.option.encoding

    @property
    def name(self) -> str:
        """The method as tables have it."""
        if self.option.encoding.startswith("exit-"):
            return f"exit after {self.option.encoding.removeprefix('exit-')}"
        return NAMES.get(self.method, self.method)

    @cached_property
    def seeds(self) -> NDArray[np.bool_]:
        """`[seeds]`: which have it."""
        return ~np.isnan(self.right[:, 0])

    @cached_property
    def bytes_of_seeds(self) -> Floats:
        """`[seeds]`: mean bytes over the photographs, NaN where a seed lacks it."""
        means: Floats = self.payload_bytes.mean(axis=1)
        return means

    @property
    def carried_of_seeds(self) -> Floats:
        """`[seeds]`: mean bytes that the channel could carry in the same time: those sent, unless that is analogue."""
        return self.bytes_of_seeds * (CARRIED if self.method == ANALOGUE else 1.0)

    @property
    def carried_bytes(self) -> float:
        """The same over seeds: what methods are compared at."""
        return float(np.nanmean(self.carried_of_seeds))

    @property
    def mean_bytes(self) -> float:
        """Over photographs and seeds."""
        return float(np.nanmean(self.bytes_of_seeds))

    @property
    def p95_bytes(self) -> float:
        """95th percentile over the photographs of all seeds."""
        return float(np.percentile(self.payload_bytes[self.seeds], 95))

    @property
    def validation_accuracy(self) -> float:
        """Over seeds: by what points are chosen, never by the test photographs."""
        return float(np.nanmean(self.validation))

    @property
    def accuracy(self) -> float:
        """Over photographs and seeds."""
        return float(self.right[self.seeds].mean())


class Studies:
    """Studies over the same test photographs, of different seeds.

    Raises:
        StudyError: there are none, they are over other photographs, or two are of one seed.
    """

    def __init__(self, studies: Sequence[Study]) -> None:
        if not studies:
            raise StudyError("no study")
        self.studies = tuple(sorted(studies, key=lambda study: study.seed))
        self.seeds = tuple(study.seed for study in self.studies)
        first = self.studies[0]
        for study in self.studies[1:]:
            if (study.photographs, study.labels) != (first.photographs, first.labels):
                raise StudyError(f"the test photographs of seed {study.seed} are not those of seed {first.seed}")
        if len(set(self.seeds)) < len(self.seeds):
            raise StudyError(f"two studies are of the same seed: {', '.join(map(str, self.seeds))}")
        self.photographs = len(first.photographs)
        self.points = self._points()

    @classmethod
    def load(cls, paths: Sequence[Path]) -> Studies:
        """Read studies. Raises StudyError, OSError."""
        studies = []
        for path in paths:
            try:
                studies.append(Study.load(path))
            except msgspec.DecodeError as error:
                raise StudyError(f"{path}: not a study: {error}") from None
        return cls(studies)

    def of_checkpoint(self, sha256: str) -> Study | None:
        """The study that came with a checkpoint."""
        return next((study for study in self.studies if study.checkpoint == sha256), None)

    @property
    def curves(self) -> tuple[tuple[Curve, ...], ...]:
        """Of each seed."""
        return tuple(study.curves for study in self.studies)

    @property
    def rankings(self) -> tuple[tuple[Ranking, ...], ...]:
        """Of each seed."""
        return tuple(study.rankings for study in self.studies)

    @property
    def uncompressed(self) -> Point:
        """The whole network on the photographs as they are. Raises StudyError."""
        for point in self.points:
            if point.option == LOCAL and point.variant == "":
                return point
        raise StudyError("no outcome of the uncompressed network")

    def of(self, method: str, *, split: str | None = None, variant: str | None = None) -> tuple[Point, ...]:
        """A method's points, those after one split, those of one variant."""
        return tuple(
            point
            for point in self.points
            if point.method == method
            and (split is None or point.split == split)
            and (variant is None or point.variant == variant)
        )

    @cached_property
    def width(self) -> float | None:
        """Of the network, by the channels that AECNN's points keep a share of; None without points after layer1."""
        for point in self.of("aecnn"):
            at = point.option.point
            if at is not None and at.split != "stem" and point.nominal_ratio is not None:
                return point.nominal_ratio * at.kept_channels * at.bits / 32 / stage_channels(at.split, 1.0)
        return None

    def tensor_bytes(self, split: str) -> float | None:
        """Bytes of a split's features in float32; None where the network's width is not known."""
        if self.width is None:
            return None
        return 4 * stage_channels(split, self.width) * stage_px(split, INPUT_PX) ** 2

    def measured_ratio(self, point: Point) -> float | None:
        """Bytes of the features in float32 over those that were sent, header included."""
        whole = self.tensor_bytes(point.split) if point.split else None
        return whole / point.mean_bytes if whole else None

    def _points(self) -> tuple[Point, ...]:
        found: dict[tuple[Option, str], dict[int, Outcome]] = {}
        for place, study in enumerate(self.studies):
            for outcome in study.outcomes:
                bits, sizes = 8 * len(outcome.answers), len(outcome.payload_bytes)
                if sizes != self.photographs or not sizes <= bits < sizes + 8:
                    raise StudyError(f"seed {study.seed}: {outcome.option}: not of {self.photographs} photographs")
                if outcome.validation_accuracy is None:
                    raise StudyError(f"seed {study.seed}: {outcome.option}: without accuracy on validation photographs")
                found.setdefault((outcome.option, outcome.variant), {})[place] = outcome
        return tuple(self._point(*key, outcomes) for key, outcomes in found.items())

    def _point(self, option: Option, variant: str, outcomes: dict[int, Outcome]) -> Point:
        right = np.full((len(self.seeds), self.photographs), np.nan)
        payload_bytes, validation = right.copy(), right[:, 0].copy()
        for place, outcome in outcomes.items():
            right[place] = outcome.right()
            payload_bytes[place] = outcome.payload_bytes
            validation[place] = outcome.validation_accuracy
        one = next(iter(outcomes.values()))
        return Point(
            option, variant, right, payload_bytes, one.nominal_ratio, one.encoder_flops, one.head_flops, validation
        )


def committed() -> list[Path]:
    """The committed studies. Raises FileNotFoundError."""
    if found := sorted(COMMITTED.glob("compression-seed*.json")):
        return found
    raise FileNotFoundError(f"{COMMITTED}: no compression-seed*.json there: without --quick they are made anew")
