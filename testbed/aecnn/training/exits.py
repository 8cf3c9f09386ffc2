"""Early exits, trained behind the frozen network: half towards the right class, half towards what the network says."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from testbed.aecnn.exits import EarlyExit
from testbed.aecnn.resnet import ResNet50, block_names
from testbed.aecnn.training.backbone import precision
from testbed.aecnn.training.cache import Features
from testbed.aecnn.training.compress import distillation
from testbed.aecnn.training.config import Config, Exits
from testbed.aecnn.training.device import placed
from testbed.aecnn.training.fitting import Batch, fit
from testbed.aecnn.training.keeping import Keep, Stages
from testbed.aecnn.training.progress import Progress


def train_exits(
    network: ResNet50, pixels: Features, config: Config, stages: Stages, progress: Progress
) -> dict[str, EarlyExit]:
    """The exits that the configuration asks for, by their stage, in evaluation mode.

    All are trained at once, from the network's own features of cached pixels: once through it serves them all.
    """
    settings = config.exits
    if settings is None:
        return {}
    network.eval().requires_grad_(False)
    torch.manual_seed(config.seed)
    exits = {
        stage: EarlyExit(network.block(block_names(upto=stage)[-1]).conv3.out_channels, network.fc.out_features)
        for stage in settings.after
    }
    together = placed(nn.ModuleDict(exits))
    stages.run("exits", together, partial(_fit, network, exits, together, pixels, config, settings, progress))
    together.eval()
    return exits


def _fit(
    network: ResNet50,
    exits: dict[str, EarlyExit],
    together: nn.ModuleDict,
    pixels: Features,
    config: Config,
    settings: Exits,
    progress: Progress,
    keep: Keep,
) -> None:
    together.train()

    def loss_of(batch: Batch, rng: np.random.Generator) -> Tensor:
        x, labels, _ = batch
        with precision(config):
            with torch.no_grad():
                features, taught = _features_and_logits(network, x)
            total = torch.zeros((), device=x.device)
            for stage, early in exits.items():
                logits = early(features[stage]).float()
                hard = functional.cross_entropy(logits, labels, label_smoothing=settings.fit.label_smoothing)
                total = total + 0.5 * hard + 0.5 * distillation(logits, taught.float(), config.temperature)
        return total

    seed = (config.seed, 4)
    batch_at = partial(pixels.batch_at, batch=settings.fit.batch, seed=seed)
    steps = pixels.steps(settings.fit.epochs, settings.fit.batch)
    rated = [(together.parameters(), settings.fit.rate)]
    fit("exits", settings.fit, rated, batch_at, steps, loss_of, progress, seed=seed, keep=keep)


def _features_and_logits(network: ResNet50, pixels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """What every stage makes of the pixels, and the whole network."""
    features: dict[str, Tensor] = {}
    x = network.stem(pixels)
    for name in block_names():
        x = network.block(name)(x)
        features[name.split(".")[0]] = x
    return features, network.classify(x)
