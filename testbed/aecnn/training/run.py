"""A training run: the stages in their order, each kept on disk, so that a killed run goes on where it was."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import safetensors.torch
import torch
from torch import Tensor

from testbed.aecnn.checkpoint import save_checkpoint
from testbed.aecnn.compression import CompressedSplit
from testbed.aecnn.division import Division, divide
from testbed.aecnn.photographs import CaltechPhotographs
from testbed.aecnn.resnet import ResNet50, block_names
from testbed.aecnn.training.backbone import (
    average,
    precision,
    prepare_backbone,
    prior_shift,
    run_blocks,
    train_backbone,
    trainable_blocks,
)
from testbed.aecnn.training.cache import Features, features_to_features, photographs_to_features
from testbed.aecnn.training.compress import SplitTraining
from testbed.aecnn.training.config import Config, ConfigError
from testbed.aecnn.training.keeping import Keep, Stages
from testbed.aecnn.training.progress import Progress
from testbed.jobs.decision import OperatingPoint


class TrainingRun:
    """One run in one folder, `output`.

    Raises:
        ConfigError: the folder holds the stages of a run with another configuration.
    """

    def __init__(
        self, config: Config, photographs: CaltechPhotographs, network: ResNet50, output: Path, progress: Progress
    ) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._claim(output / "config.json", config)
        self.config = config
        self.photographs = photographs
        self.network = network.eval()
        self.output = output
        self.progress = progress
        self.stages = Stages(output)
        self.division: Division = divide(photographs)
        (output / "division.json").write_bytes(msgspec.json.encode(self.division))

    def train(self) -> Path:
        """All stages; returns the checkpoint's path. The sample of photographs never trained on lies beside it."""
        features, validation = self._cached("train", self.config.copies), self._cached("validation", 1)
        self._train_backbone(features)
        splits = [self._compressed(name) for name in self.config.splits]
        names = {split.split: self._names(split.split) for split in splits}
        near = {split.split: self._nearer("train", features, split.split) for split in splits}
        near_validation = {split.split: self._nearer("validation", validation, split.split) for split in splits}
        latest = max(names, key=lambda name: block_names().index(names[name][0]))
        teacher = features_to_features(
            near[latest],
            self._compute(self._from(names[latest][0]), classify=True),
            self.output / "teacher.npy",
            self.progress,
        )
        for split in splits:
            training = SplitTraining(
                self.network, split, near[split.split], names[split.split], teacher, self.config, self.progress
            )
            self.stages.run(f"{split.split}-attention", split, training.train_attention)
            self.stages.run(f"{split.split}-recovery", split, training.train_recovery)
            self.stages.run(f"{split.split}-tuned", split, training.tune)
            self._report(training, near_validation[split.split])
        path = self.output / "checkpoint.safetensors"
        save_checkpoint(path, self.network, splits, self.config.width, self.photographs.classes)
        write_sample(self.photographs, self.division, self.output / "sample.zip")
        return path

    def _train_backbone(self, features: Features) -> None:
        """Stage 0, each of its parts kept; then their average, with a bias that favours no class for its number."""

        def train(part: int, keep: Keep) -> None:
            if part == 0:
                prepare_backbone(self.network, features, self.config)
            train_backbone(self.network, features, self.config, part, self.progress, keep)

        for part in range(len(self.config.backbone)):
            self.stages.run(f"backbone-{part + 1}", self.network, partial(train, part))
        parts = [
            safetensors.torch.load_file(self.stages.path(f"backbone-{part + 1}"))
            for part in range(len(self.config.backbone))
        ]
        self.network.load_state_dict(average(parts, self.config.average))
        shift = prior_shift(features.labels, len(self.photographs.classes), self.config.prior)
        with torch.no_grad():
            self.network.fc.bias.sub_(shift)

    def _cached(self, role: str, copies: int) -> Features:
        def compute(pixels: Tensor) -> Tensor:
            with precision(self.config):
                return run_blocks(self.network, tuple(self.config.frozen), self.network.stem(pixels)).float()

        indices = self.division.indices(self.photographs, role)  # type: ignore[arg-type]
        path = self.output / f"{role}.npy"
        return photographs_to_features(
            self.photographs, indices, copies, self.config.seed, compute, path, self.progress
        )

    def _nearer(self, role: str, features: Features, split: str) -> Features:
        """Features before the first block that `split` retrains."""
        first = self._names(split)[0]
        names = tuple(name for name in trainable_blocks(self.config) if name not in self._from(first))
        if not names:
            return features
        path = self.output / f"{role}-{split}.npy"
        return features_to_features(features, self._compute(names, classify=False), path, self.progress)

    def _names(self, split: str) -> tuple[str, ...]:
        """The blocks from the first that `split` retrains to the split."""
        upto = block_names(upto=split)
        return upto[upto.index(self.config.splits[split].head[0]) :]

    def _from(self, first: str) -> tuple[str, ...]:
        return block_names()[block_names().index(first) :]

    def _compute(self, names: tuple[str, ...], *, classify: bool) -> Callable[[Tensor], Tensor]:
        def compute(x: Tensor) -> Tensor:
            with precision(self.config):
                y = run_blocks(self.network, names, x)
                return (self.network.classify(y) if classify else y).float()

        return compute

    def _compressed(self, name: str) -> CompressedSplit:
        settings = self.config.splits[name]
        points = [OperatingPoint(name, point.kept_channels, point.bits) for point in settings.points]
        torch.manual_seed(self.config.seed)
        retrained = [*settings.head, *settings.tail]
        split = CompressedSplit(name, self.config.width, points, retrained, original=self.network.original)
        return split.eval()  # stages put into training what they train

    def _report(self, training: SplitTraining, validation: Features) -> None:
        for name, accuracy in training.accuracies(validation).items():
            note = f"{accuracy:.1%} of {len(validation)} photographs"
            self.progress(f"validation, {name}", 1.0, note, accuracy=accuracy)

    @staticmethod
    def _claim(path: Path, config: Config) -> None:
        encoded = msgspec.json.encode(config)
        if path.exists() and path.read_bytes() != encoded:
            raise ConfigError(f"{path.parent}: holds a run with another configuration; give another folder")
        path.write_bytes(encoded)


def write_sample(photographs: CaltechPhotographs, division: Division, path: Path) -> None:
    """The photographs of role `test` as the device's JPEGs, in Caltech-101's layout, stored."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index in division.indices(photographs, "test"):
            entry = zipfile.ZipInfo(f"101_ObjectCategories/{photographs.name(index)}", (2004, 1, 1, 0, 0, 0))
            archive.writestr(entry, photographs.jpeg(index))
