"""Stage 0: the published weights become a classifier of the photographs' classes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from testbed.aecnn.resnet import Bottleneck, ResNet50, block_names
from testbed.aecnn.training.cache import Features
from testbed.aecnn.training.config import Config
from testbed.aecnn.training.fitting import Batch, fit
from testbed.aecnn.training.keeping import Keep
from testbed.aecnn.training.progress import Progress
from testbed.aecnn.training.published import restore_statistics


def trainable_blocks(config: Config) -> tuple[str, ...]:
    """Blocks that stage 0 trains, in the network's order."""
    return tuple(name for name in block_names() if name not in config.frozen)


def run_blocks(network: ResNet50, names: tuple[str, ...], x: Tensor) -> Tensor:
    """`x` through the blocks named, in that order."""
    for name in names:
        x = network.block(name)(x)
    return x


def precision(config: Config) -> contextlib.AbstractContextManager[object]:
    """bfloat16 where the configuration asks for it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16)


def prepare_backbone(network: ResNet50, features: Features, config: Config) -> None:
    """Give the blocks to be trained the batch statistics of their photographs, without changing what they compute."""
    blocks = [network.block(name) for name in trainable_blocks(config)]
    batch = config.backbone[0].batch
    drawn = [features.batch_at(step, batch, (config.seed, 0))[0] for step in range(min(12, features.steps(1, batch)))]
    restore_statistics(_folded(blocks), nn.Sequential(*blocks), drawn)


def train_backbone(
    network: ResNet50, features: Features, config: Config, part: int, progress: Progress, keep: Keep
) -> None:
    """Train the blocks that are not frozen, and the classifier, from cached features of the frozen part.

    Where `mixup` is given, features are mixed in pairs (manifold mixup, Verma et al. 2019): the cached copies are few
    enough to be learned by heart.
    """
    settings = config.backbone[part]
    names = trainable_blocks(config)
    blocks = [network.block(name) for name in names]
    seed = (config.seed, part)
    network.eval()
    for block in blocks:
        block.train()

    def loss_of(batch: Batch, rng: np.random.Generator) -> Tensor:
        x, labels, _ = batch
        share = float(rng.beta(settings.mixup, settings.mixup)) if settings.mixup else 1.0
        other = torch.from_numpy(rng.permutation(len(x)))
        with precision(config):
            logits = network.classify(run_blocks(network, names, share * x + (1 - share) * x[other])).float()
        smoothing = settings.label_smoothing
        own = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        return share * own + (1 - share) * functional.cross_entropy(logits, labels[other], label_smoothing=smoothing)

    fit(
        f"backbone, part {part + 1}",
        settings,
        [
            ([parameter for block in blocks for parameter in block.parameters()], settings.rate),
            (network.fc.parameters(), settings.fresh_rate or settings.rate),
        ],
        partial(features.batch_at, batch=settings.batch, seed=seed),
        features.steps(settings.epochs, settings.batch),
        loss_of,
        progress,
        seed=seed,
        keep=keep,
    )
    network.eval()


def average(states: Sequence[dict[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    """Weights between those of several parts of one training (model soups, Wortsman et al. 2022)."""
    return {
        name: sum((share * state[name] for share, state in zip(shares, states, strict=True)), torch.zeros_like(first))
        if first.is_floating_point()
        else first
        for name, first in states[0].items()
    }


def prior_shift(labels: Tensor, classes: int, strength: float) -> Tensor:
    """`[classes]` of `strength * log p(class)`: what the classes' shares add to logits (Menon et al. 2021).

    Taken off a classifier's bias it stops favouring classes for their number; added back in the loss it keeps training
    from putting that favour elsewhere.
    """
    counts = torch.bincount(labels, minlength=classes).clamp_min(1)
    return strength * (counts / counts.sum()).log()


def _folded(blocks: list[Bottleneck]) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    pairs = []
    for block in blocks:
        pairs += [(block.conv1, block.bn1), (block.conv2, block.bn2), (block.conv3, block.bn3)]
        if block.downsample is not None:
            conv, norm = block.downsample
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            pairs.append((conv, norm))
    return pairs
