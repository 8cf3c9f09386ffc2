"""The training file: every setting of every stage, once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml


class ConfigError(ValueError):
    """The training file cannot be used."""


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one stage is fitted: AdamW under a one-cycle schedule."""

    epochs: float  # passes over the training photographs, each pass seeing one cached copy of each
    rate: float
    fresh_rate: float | None = None  # backbone alone: rate of the classifier, which has no published weights
    batch: int = 64
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warm_up: float = 0.15  # share of the steps
    clip: float = 5.0  # greatest norm of the gradient
    mixup: float | None = None  # backbone alone: features are mixed in pairs, by shares drawn from Beta(mixup, mixup)


class Attention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stage 1: attention alone, made to choose by a penalty on its mean weight."""

    fit: Fit
    sparsity: float


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operating point of a split."""

    kept_channels: int
    bits: int


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stages 2 and 3 of one split: its operating points, which share the blocks trained for compression."""

    points: list[Point]
    head: list[str]  # blocks before the split that get a copy trained for compression
    tail: list[str]  # blocks after it that do
    recover: Fit  # stage 2: feature recovery alone
    tune: Fit  # stage 3: with the quantiser, head and tail blocks
    tail_rate: float  # rate of the tail's blocks, which keep their batch statistics and so bear less


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A training run."""

    seed: int
    width: float
    copies: int  # cached copies of each training photograph: the first plain, the others augmented
    frozen: list[str]  # blocks after the stem that keep their published weights
    backbone: list[Fit]  # stage 0: parts, each going on from the one before
    average: list[float]  # share of each part's weights in the backbone
    prior: float  # how far decisions are freed from the training photographs' unequal classes: 0 not, 1 wholly
    attention: Attention
    splits: dict[str, Split]
    bfloat16: bool = True
    temperature: float = 2.0  # of the distillation from the uncompressed network


def load_config(path: Path) -> Config:
    """Read a training file. Raises ConfigError, naming the field."""
    try:
        return msgspec.convert(yaml.safe_load(path.read_text()), Config)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from None
