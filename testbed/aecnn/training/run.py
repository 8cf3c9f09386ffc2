"""A training run: the stages in their order, each kept on disk, so that a killed run goes on where it was."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import msgspec
import torch
from torch import Tensor

from testbed.aecnn.checkpoint import load_checkpoint, save_checkpoint
from testbed.aecnn.compression import CompressedSplit, Layout
from testbed.aecnn.division import Division, Role, divide
from testbed.aecnn.evaluation import outcomes_of
from testbed.aecnn.exits import EarlyExit
from testbed.aecnn.inference import SplitModel
from testbed.aecnn.outcomes import Outcome, Ranking, Study, packed
from testbed.aecnn.photographs import CaltechPhotographs
from testbed.aecnn.profile import device_flops
from testbed.aecnn.resnet import ResNet50, block_names
from testbed.aecnn.timing import one_thread
from testbed.aecnn.training.backbone import BackboneTraining, precision, run_blocks
from testbed.aecnn.training.cache import Features, features_to_features
from testbed.aecnn.training.compress import CompressionTraining
from testbed.aecnn.training.config import Compression, Config, ConfigError
from testbed.aecnn.training.curves import CurveRecorder
from testbed.aecnn.training.exits import train_exits
from testbed.aecnn.training.keeping import Stages
from testbed.aecnn.training.memory import keep_freed_memory
from testbed.aecnn.training.progress import Progress
from testbed.aecnn.training.recompress import train_on_recompressed
from testbed.jobs.decision import Kind, OperatingPoint


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
        self.backbone = BackboneTraining(
            self.network, photographs, self.division, config, output, self.stages, progress
        )

    def train(self) -> Path:
        """All stages; returns the checkpoint's path. Beside it lie the sample of photographs never trained on, and the
        study: what became of each of them under every method.
        """
        keep_freed_memory()
        self.backbone.train()
        exits = train_exits(self.network, self.backbone.pixels("train"), self.config, self.stages, self.progress)
        outcomes = self._outcomes("whole", (), exits) + self._tuned_outcomes()
        trained = [self._compressed(settings) for settings in self.config.compressions]
        for one in trained:
            outcomes += self._outcomes(one.settings.name, [one.compressed], {}, one.settings.variant)
        shipped = [one.compressed for one in trained if not one.settings.variant]
        path = self.output / "checkpoint.safetensors"
        self._save(path, shipped, exits, self.network)
        write_sample(self.photographs, self.division, self.output / "sample.zip")
        test = self.division.indices(self.photographs, "test")
        Study(
            self.config.seed,
            hashlib.sha256(self.stages.path("backbone").read_bytes()).hexdigest(),
            tuple(self.photographs.name(index) for index in test),
            tuple(self.photographs.label(index) for index in test),
            tuple(outcomes),
            tuple(one.curve.curve(one.settings.name) for one in trained if one.curve),
            _rankings(trained),
            hashlib.sha256(path.read_bytes()).hexdigest(),
        ).save(self.output / "study.json")
        return path

    def _tuned_outcomes(self) -> list[Outcome]:
        """What becomes of recompressed photographs by a network that was trained for them."""
        settings = self.config.tune_recompressed
        if settings is None:
            return []
        pixels = self.backbone.pixels("train")
        tuned = train_on_recompressed(
            self.network, settings, pixels, self._teacher(), self.config, self.stages, self.progress
        )
        found = self._outcomes("tuned", (), {}, "tuned", network=tuned)
        return [one for one in found if one.option.encoding in self.config.recompressed]

    def _compressed(self, settings: Compression) -> CompressionTraining:
        """One compression, trained."""
        points = tuple(OperatingPoint(settings.split, point.kept_channels, point.bits) for point in settings.points)
        layout = Layout(settings.split, points, (*settings.head, *settings.tail), settings.method)
        torch.manual_seed(self.config.seed)
        compressed = CompressedSplit(layout, self.config.width, self.config.input_px, original=self.network.original)
        upto = block_names(upto=settings.split)
        first = settings.head[0] if settings.head else None
        names = upto[upto.index(first) :] if first else ()
        before = upto[: len(upto) - len(names)]
        validation = self._features("validation", before)
        training = CompressionTraining(
            self.network,
            compressed,
            settings,
            self._features("train", before),
            names,
            self._teacher(),
            self.config,
            self.progress,
        )
        if settings.curve:
            training.curve = CurveRecorder(
                self.output / f"{settings.name}-curve.jsonl",
                lambda: fmean(
                    accuracy for name, accuracy in training.accuracies(validation).items() if name != "uncompressed"
                ),
                self.progress,
            )
        training.train(self.stages)
        for name, accuracy in training.accuracies(validation).items():
            note = f"{accuracy:.1%} of {len(validation)} photographs"
            self.progress(f"{settings.name}, validation, {name}", 1.0, note, accuracy=accuracy)
        return training

    def _features(self, role: Role, names: tuple[str, ...]) -> Features:
        """Features of the photographs of a role after these blocks."""
        path = self.output / f"{role}-after-{names[-1] if names else 'stem'}.npy"

        def compute(pixels: Tensor) -> Tensor:
            with precision(self.config):
                return run_blocks(self.network, names, self.network.stem(pixels)).float()

        return features_to_features(self.backbone.pixels(role), compute, path, self.progress)

    def _teacher(self) -> Features:
        """The uncompressed network's logits of every copy of the training photographs."""

        def compute(pixels: Tensor) -> Tensor:
            with precision(self.config):
                return self.network(pixels).float()  # type: ignore[no-any-return]

        return features_to_features(self.backbone.pixels("train"), compute, self.output / "teacher.npy", self.progress)

    def _outcomes(
        self,
        name: str,
        splits: Sequence[CompressedSplit],
        exits: Mapping[str, EarlyExit],
        variant: str = "",
        network: ResNet50 | None = None,
    ) -> list[Outcome]:
        """What becomes of the test photographs, and of how many of validation, by the very payloads that would travel;
        kept. What every checkpoint has is in the outcomes of none that has splits.
        """
        kept = self.output / f"{name}-outcomes.json"
        if not kept.exists():
            checkpoint = self.output / f"{name}.partial.safetensors"
            self._save(checkpoint, splits, exits, network or self.network)
            model = SplitModel(load_checkpoint(checkpoint), "torch")
            checkpoint.unlink()
            test, validation = (self.division.indices(self.photographs, role) for role in ("test", "validation"))
            indices = [*test, *validation]

            def told(done: float) -> None:
                self.progress(f"{name}, test", done, f"{done:.0%} of {len(indices)} photographs")

            options = [option for option in model.options if not splits or option.kind is Kind.SPLIT]
            with one_thread():
                both = outcomes_of(model, self.photographs, indices, told, options=options, variant=variant)
                found = [self._with_flops(_validated(one, len(test)), model) for one in both]
            kept.write_bytes(msgspec.json.encode(found))
        return msgspec.json.decode(kept.read_bytes(), type=list[Outcome])

    def _with_flops(self, outcome: Outcome, model: SplitModel) -> Outcome:
        """With what the device computes; but for a split option, the outcome as it is."""
        if outcome.option.kind is not Kind.SPLIT:
            return outcome
        head, encoder = device_flops(model, outcome.option, self.photographs.pixels(0))
        return msgspec.structs.replace(outcome, head_flops=head, encoder_flops=encoder)

    def _save(
        self, path: Path, splits: Sequence[CompressedSplit], exits: Mapping[str, EarlyExit], network: ResNet50
    ) -> None:
        config, classes = self.config, self.photographs.classes
        save_checkpoint(path, network, config.width, classes, splits, exits, config.recompressed)

    @staticmethod
    def _claim(path: Path, config: Config) -> None:
        encoded = msgspec.json.encode(config)
        if path.exists() and path.read_bytes() != encoded:
            raise ConfigError(f"{path.parent}: holds a run with another configuration; give another folder")
        path.write_bytes(encoded)


def _validated(outcome: Outcome, test: int) -> Outcome:
    """The outcome over the first photographs, those of role `test`; the others are of role `validation`."""
    right = outcome.right()
    return msgspec.structs.replace(
        outcome,
        answers=packed(right[:test]),
        payload_bytes=outcome.payload_bytes[:test],
        validation_accuracy=float(right[test:].mean()),
    )


def _rankings(trained: Sequence[CompressionTraining]) -> tuple[Ranking, ...]:
    """Of each split and kind the first: what ablations change comes after what is shipped."""
    found: dict[tuple[str, str], Ranking] = {}
    for one in trained:
        if one.ranking is not None:
            found.setdefault((one.ranking.split, one.ranking.by), one.ranking)
    return tuple(found.values())


def write_sample(photographs: CaltechPhotographs, division: Division, path: Path) -> None:
    """The photographs of role `test` as the device's JPEGs, in Caltech-101's layout, stored."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index in division.indices(photographs, "test"):
            entry = zipfile.ZipInfo(f"101_ObjectCategories/{photographs.name(index)}", (2004, 1, 1, 0, 0, 0))
            archive.writestr(entry, photographs.jpeg(index))
