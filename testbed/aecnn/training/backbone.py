"""Stage 0: the published weights become a classifier of the photographs' classes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from testbed.aecnn.division import Division, Role
from testbed.aecnn.photographs import CaltechPhotographs
from testbed.aecnn.resnet import STAGES, ResNet50
from testbed.aecnn.training.augment import mirror
from testbed.aecnn.training.cache import Features, photographs_to_pixels
from testbed.aecnn.training.config import Config
from testbed.aecnn.training.device import placed, training_device
from testbed.aecnn.training.fitting import Batch, fit
from testbed.aecnn.training.keeping import Keep, Stages
from testbed.aecnn.training.progress import Progress
from testbed.aecnn.training.statistics import restore_statistics

STATISTICS_BATCHES = 6


class BackboneTraining:
    """Trains the network whole, from cached copies of the photographs, in the run's folder, `output`."""

    def __init__(
        self,
        network: ResNet50,
        photographs: CaltechPhotographs,
        division: Division,
        config: Config,
        output: Path,
        stages: Stages,
        progress: Progress,
    ) -> None:
        self.network = placed(network)
        self.photographs = photographs
        self.division = division
        self.config = config
        self.output = output
        self.stages = stages
        self.progress = progress

    def pixels(self, role: Role) -> Features:
        """Cached `[copies, photographs, 3, H, W]` of uint8; but for training, the plain copy alone."""
        return photographs_to_pixels(
            self.photographs,
            self.division.indices(self.photographs, role),
            self.config.backbone.copies if role == "train" else 1,
            self.config.input_px,
            self.config.seed,
            self.output / f"{role}.npy",
            self.progress,
        )

    def train(self) -> None:
        """Leave the network trained, in evaluation mode, and tell how it does on the validation photographs."""
        self.stages.run("backbone", self.network, self._fit)
        self.network.eval()
        validation = self.pixels("validation")
        share = accuracy(self.network, validation)
        note = f"{share:.1%} of {len(validation)} photographs"
        self.progress("validation, backbone", 1.0, note, accuracy=share)

    def _fit(self, keep: Keep) -> None:
        settings, network = self.config.backbone, self.network
        pixels, seed = self.pixels("train"), (self.config.seed, 0)
        batch_at = partial(pixels.batch_at, batch=settings.fit.batch, seed=seed)
        steps = pixels.steps(settings.fit.epochs, settings.fit.batch)
        restore_statistics(network, (batch_at(step)[0] for step in range(min(STATISTICS_BATCHES, steps))))
        network.train()

        def loss_of(batch: Batch, rng: np.random.Generator) -> Tensor:
            x, labels, _ = batch
            with precision(self.config):
                logits = network(mirror(x, rng)).float()
            return functional.cross_entropy(logits, labels, label_smoothing=settings.fit.label_smoothing)

        fit("backbone", settings.fit, self._rated(), batch_at, steps, loss_of, self.progress, seed=seed, keep=keep)

    def _rated(self) -> Iterator[tuple[list[nn.Parameter], float]]:
        """Parameters and their rates: the earlier a stage, the less it has to change."""
        settings, network = self.config.backbone, self.network
        yield list(network.fc.parameters()), settings.fresh_rate
        for depth, stage in enumerate(reversed(STAGES)):
            modules = [network.conv1, network.bn1] if stage == "stem" else [network.get_submodule(stage)]
            rate = settings.fit.rate * settings.depth_decay**depth
            yield [parameter for module in modules for parameter in module.parameters()], rate


def run_blocks(network: ResNet50, names: Sequence[str], x: Tensor) -> Tensor:
    """`x` through the blocks named, in that order."""
    for name in names:
        x = network.block(name)(x)
    return x


def precision(config: Config) -> contextlib.AbstractContextManager[object]:
    """bfloat16 where the configuration asks for it."""
    return torch.autocast(training_device().type, torch.bfloat16, enabled=config.bfloat16)


def accuracy(network: ResNet50, pixels: Features) -> float:
    """Share of the photographs, as a device would send them, whose class the network gives."""
    with torch.no_grad():
        right = sum(int((network(x).argmax(1) == pixels.labels[where]).sum()) for where, x in pixels.plain())
    return right / len(pixels)
