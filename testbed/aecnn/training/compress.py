"""Stages 1 to 3 of one split: attention, feature recovery, then all of it with the quantiser in the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from testbed.aecnn.attention import importance, most_important
from testbed.aecnn.compression import CompressedSplit, PointCodec
from testbed.aecnn.entropy_coder import frequencies_of
from testbed.aecnn.resnet import ResNet50
from testbed.aecnn.training.backbone import precision, prior_shift, run_blocks
from testbed.aecnn.training.cache import Features
from testbed.aecnn.training.config import Config, Fit
from testbed.aecnn.training.fitting import Batch, fit
from testbed.aecnn.training.keeping import Keep
from testbed.aecnn.training.progress import Progress


class SplitTraining:
    """Trains one split from cached features of the blocks before those that are retrained.

    `features` are the uncompressed network's before block `names[0]`; `names` are the blocks from there to the split;
    `teacher` holds the uncompressed network's logits, `[copies, photographs, classes]`.
    """

    def __init__(
        self,
        network: ResNet50,
        compressed: CompressedSplit,
        features: Features,
        names: tuple[str, ...],
        teacher: Features,
        config: Config,
        progress: Progress,
    ) -> None:
        network.eval().requires_grad_(False)
        self.network = network
        self.compressed = compressed
        self.features = features
        self.names = names
        self.teacher = teacher
        self.config = config
        self.settings = config.splits[compressed.split]
        self.progress = progress
        self.shift = prior_shift(features.labels, network.fc.out_features, config.prior)

    def train_attention(self, keep: Keep) -> None:
        """Stage 1: attention alone, the network frozen; then every point keeps the channels that matter most."""
        settings = self.config.attention
        for name in self.compressed.retrained_names:
            self.compressed.block(self.network, name).load_state_dict(self.network.block(name).state_dict())
        self.compressed.eval()

        def loss_of(batch: Batch, rng: np.random.Generator) -> Tensor:
            x, labels, _ = batch
            with precision(self.config):
                with torch.no_grad():
                    features = self._uncompressed(x)
                weights: Tensor = self.compressed.attention(features)
                logits = self._frozen_tail(weights * features).float()
            loss: Tensor = self._cross_entropy(logits, labels, settings.fit)
            return loss + settings.sparsity * weights.mean()

        rated = [(self.compressed.attention.parameters(), settings.fit.rate)]
        self._fit("attention", settings.fit, rated, 1, loss_of, keep)
        self._prune()

    def _prune(self) -> None:
        """Keep each point's most important channels; let its recovery start from the attended channels' statistics."""

        def moments(x: Tensor) -> Tensor:
            features = self._uncompressed(x)
            weights = self.compressed.attention(features).float()
            attended = weights * features.float()
            return torch.stack([weights.flatten(1), attended.mean((2, 3)), attended.square().mean((2, 3))])

        with torch.no_grad(), precision(self.config):
            weights, mean, square = torch.cat([moments(x) for _, x in self.features.plain()], dim=1)
        importances = importance(weights)
        deviation = (square.mean(0) - mean.mean(0).square()).sqrt()
        for codec in self.compressed.codecs:
            codec.recovery.kept.copy_(most_important(importances, codec.point.kept_channels))
            with torch.no_grad():
                codec.recovery.norm.weight.copy_(deviation)
                codec.recovery.norm.bias.copy_(mean.mean(0))

    def train_recovery(self, keep: Keep) -> None:
        """Stage 2: each point's feature recovery, towards the attended features and the right class."""
        self.compressed.eval()

        def loss_of(batch: Batch, rng: np.random.Generator) -> Tensor:
            x, labels, _ = batch
            codec = self._drawn_point(rng)
            codec.recovery.train()
            with precision(self.config):
                with torch.no_grad():
                    attended = self.compressed.attended(self._uncompressed(x))
                kept = codec.kept(attended)
                codec.quantiser.observe(kept)
                recovered = codec.recovery(kept)
                logits = self._frozen_tail(recovered).float()
            wanted = attended.float()
            error = functional.mse_loss(recovered.float(), wanted) / wanted.var()
            return error + self._cross_entropy(logits, labels, self.settings.recover)

        parameters = [parameter for codec in self.compressed.codecs for parameter in codec.recovery.parameters()]
        self._fit("recovery", self.settings.recover, [(parameters, self.settings.recover.rate)], 2, loss_of, keep)

    def tune(self, keep: Keep) -> None:
        """Stage 3: quantiser in the loop, retrained head and tail blocks, half distilled; then the coder's tables."""
        settings, temperature = self.settings.tune, self.config.temperature
        self.compressed.eval()
        for name in self.settings.head:
            self.compressed.block(self.network, name).train()

        def loss_of(batch: Batch, rng: np.random.Generator) -> Tensor:
            x, labels, where = batch
            codec = self._drawn_point(rng)
            codec.recovery.train()
            with precision(self.config):
                attended = self.compressed.attended(self.compressed.run(self.network, self.names, x))
                kept = codec.kept(attended)
                codec.quantiser.observe(kept)
                recovered = codec.recovery(codec.quantiser(kept))
                logits = self.compressed.tail(self.network, recovered).float()
            taught = torch.from_numpy(self.teacher.array[where[:, 0], where[:, 1]].astype(np.float32))
            hard = self._cross_entropy(logits, labels, settings)
            return 0.5 * hard + 0.5 * distillation(logits, taught, temperature)

        tail = self._parameters(self.settings.tail)
        others = [
            *self._parameters(self.settings.head),
            *self.compressed.attention.parameters(),
            *self.compressed.points.parameters(),
        ]
        self._fit("tune", settings, [(others, settings.rate), (tail, self.settings.tail_rate)], 3, loss_of, keep)
        self.compressed.eval()
        self._fit_tables()

    def accuracies(self, validation: Features) -> dict[str, float]:
        """Top-1 of the uncompressed network, and of every point as it will be used, over cached photographs."""
        right: dict[str, int] = {}
        with torch.no_grad():
            for where, x in validation.plain():
                attended = self.compressed.attended(self.compressed.run(self.network, self.names, x))
                logits = {"uncompressed": self._frozen_tail(self._uncompressed(x))}
                for codec in self.compressed.codecs:
                    recovered = codec.recovery(codec.quantiser(codec.kept(attended)))
                    logits[str(codec.point)] = self.compressed.tail(self.network, recovered)
                for name, values in logits.items():
                    right[name] = right.get(name, 0) + int((values.argmax(1) == validation.labels[where]).sum())
        return {name: count / len(validation) for name, count in right.items()}

    def _fit_tables(self) -> None:
        counts = {codec: np.zeros(codec.frequencies.shape, dtype=np.int64) for codec in self.compressed.codecs}
        with torch.no_grad():
            for _, x in self.features.plain():
                attended = self.compressed.attended(self.compressed.run(self.network, self.names, x))
                for codec, count in counts.items():
                    symbols = codec.quantiser.symbols(codec.kept(attended)).long().transpose(0, 1).flatten(1)
                    for channel, row in enumerate(symbols):
                        count[channel] += np.bincount(row.numpy(), minlength=count.shape[1])
        for codec, count in counts.items():
            codec.frequencies.copy_(torch.from_numpy(frequencies_of(count)))

    def _fit(
        self,
        stage: str,
        settings: Fit,
        rated: Iterable[tuple[Iterable[nn.Parameter], float]],
        number: int,
        loss_of: Callable[[Batch, np.random.Generator], Tensor],
        keep: Keep,
    ) -> None:
        seed = (self.config.seed, number)
        fit(
            f"{stage} after {self.compressed.split}",
            settings,
            rated,
            partial(self.features.batch_at, batch=settings.batch, seed=seed),
            self.features.steps(settings.epochs, settings.batch),
            loss_of,
            self.progress,
            seed=seed,
            keep=keep,
        )
        self.compressed.eval()

    def _parameters(self, names: Iterable[str]) -> list[nn.Parameter]:
        """Of the retrained copies of these blocks."""
        return [value for name in names for value in self.compressed.block(self.network, name).parameters()]

    def _drawn_point(self, rng: np.random.Generator) -> PointCodec:
        codecs = self.compressed.codecs
        return codecs[int(rng.integers(len(codecs)))]

    def _cross_entropy(self, logits: Tensor, labels: Tensor, settings: Fit) -> Tensor:
        return functional.cross_entropy(logits + self.shift, labels, label_smoothing=settings.label_smoothing)

    def _uncompressed(self, x: Tensor) -> Tensor:
        return run_blocks(self.network, self.names, x)

    def _frozen_tail(self, x: Tensor) -> Tensor:
        return self.network.tail(x, self.compressed.split)


def distillation(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Divergence from the teacher's softened classes, its gradient's size kept (Hinton et al. 2015)."""
    log_student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.softmax(taught / temperature, dim=1)
    return functional.kl_div(log_student, teacher, reduction="batchmean") * temperature**2
