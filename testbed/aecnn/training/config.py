"""The training file: every setting of every stage, once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import yaml

from testbed.aecnn.methods import AECNN
from testbed.aecnn.photographs import INPUT_PX


class ConfigError(ValueError):
    """The training file cannot be used."""


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one stage is fitted: AdamW under a one-cycle schedule."""

    epochs: float  # passes over the training photographs, each pass seeing one cached copy of each
    rate: float
    batch: int = 64
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warm_up: float = 0.15  # share of the steps
    clip: float = 5.0  # greatest norm of the gradient


class Backbone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stage 0: the published network trained whole."""

    copies: int  # cached copies of each training photograph: the first plain, the others augmented
    fit: Fit  # its rate is layer4's
    fresh_rate: float  # rate of the classifier, which has no published weights
    depth_decay: float = 1.0  # rate of a stage over that of the stage after it, from layer4 down to the stem


class Exits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Early exits, trained behind the frozen backbone."""

    after: list[str]  # stages
    fit: Fit


class Attention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stage 1: attention alone, made to choose by a penalty on its mean weight."""

    fit: Fit
    sparsity: float
    maximum: bool = True  # whether it looks at each channel's greatest value too, not at the average alone


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operating point of a split."""

    kept_channels: int
    bits: int


Ranked = Literal["attention", "activation", "l1", "random"]


class Compression(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One method after one stage: its operating points, which share the blocks trained for them.

    Stages that are left out are not trained: without `attention`, `recover` and blocks of the head, AECNN is trained
    end to end behind a frozen head.
    """

    split: str
    points: list[Point]
    tune: Fit | None = None  # stage 3: with the quantiser, head and tail blocks
    tail_rate: float = 3e-4  # rate of the tail's blocks, which keep their batch statistics and so bear less
    method: str = AECNN
    variant: str = ""  # what an ablation changes; "" is what the checkpoint holds
    head: list[str] = []  # blocks before the split that get a copy trained for compression
    tail: list[str] = []  # blocks after it that do
    attention: Attention | None = None  # stage 1
    ranking: Ranked = "attention"  # by what the channels are chosen
    recover: Fit | None = None  # stage 2: what makes features of what was sent, alone
    recovery: bool = True  # whether channels that were not sent are recovered, or are their means
    distillation: float = 0.5  # share of the loss that is the divergence from the uncompressed network
    byte_price: float = 0.0  # loss that a byte of the payload is worth
    curve: bool = False  # whether the validation photographs are looked at after every pass

    @property
    def name(self) -> str:
        """By which its stages are kept."""
        return ".".join(filter(None, (self.method, self.split, self.variant.replace(" ", "-").replace(":", ""))))


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A training run."""

    seed: int
    width: float
    backbone: Backbone
    compressions: list[Compression]
    recompressed: list[str] = []  # photographs sent whole at other qualities than a device's own, such as webp-10
    tune_recompressed: Fit | None = None  # of a network trained for those, to compare with
    exits: Exits | None = None
    input_px: int = INPUT_PX  # height and width of the photographs
    bfloat16: bool = True
    temperature: float = 2.0  # of the distillation from the uncompressed network


def load_config(path: Path) -> Config:
    """Read a training file. Raises ConfigError, naming the field."""
    try:
        return msgspec.convert(yaml.safe_load(path.read_text()), Config)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from None
