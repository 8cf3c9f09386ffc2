"""Stages 1 to 3 of one method after one stage: choosing, recovering, then all of it with the quantiser in the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from testbed.aecnn.attention import importance, most_important
from testbed.aecnn.codec import PointCodec
from testbed.aecnn.compression import CompressedSplit
from testbed.aecnn.entropy_coder import frequencies_of
from testbed.aecnn.outcomes import Ranking
from testbed.aecnn.pruning import PrunedCodec
from testbed.aecnn.resnet import ResNet50
from testbed.aecnn.training.backbone import precision, run_blocks
from testbed.aecnn.training.cache import Features
from testbed.aecnn.training.config import Compression, Config, Fit
from testbed.aecnn.training.curves import CurveRecorder
from testbed.aecnn.training.device import placed
from testbed.aecnn.training.draws import torch_generator
from testbed.aecnn.training.fitting import Batch, fit
from testbed.aecnn.training.keeping import Keep, Stages
from testbed.aecnn.training.progress import Progress
from testbed.aecnn.training.rate import expected_bytes, follow


class CompressionTraining:
    """Trains one compressed split from cached features of the blocks before those that are retrained.

    `features` are the uncompressed network's before block `names[0]`; `names` are the blocks from there to the split
    (none: the features are the split's own); `teacher` holds the uncompressed network's logits, `[copies,
    photographs, classes]`.
    """

    def __init__(
        self,
        network: ResNet50,
        compressed: CompressedSplit,
        settings: Compression,
        features: Features,
        names: tuple[str, ...],
        teacher: Features,
        config: Config,
        progress: Progress,
        curve: CurveRecorder | None = None,
    ) -> None:
        network.eval().requires_grad_(False)
        self.network = network
        self.compressed = placed(compressed.eval())
        self.settings = settings
        self.features = features
        self.names = names
        self.teacher = teacher
        self.config = config
        self.progress = progress
        self.curve = curve
        self.ranking: Ranking | None = None  # by which channels were chosen, once they are

    def train(self, stages: Stages) -> None:
        """All stages that the settings have, each kept."""
        name = self.settings.name
        stages.run(f"{name}-chosen", self.compressed, self.choose)
        if self.compressed.attention is not None:
            path = stages.path(f"{name}-chosen").with_suffix(".ranking.json")
            if not path.exists():
                path.write_bytes(msgspec.json.encode(self._ranking()))
            self.ranking = msgspec.json.decode(path.read_bytes(), type=Ranking)
        if self.settings.recover is not None:
            stages.run(f"{name}-recovery", self.compressed, self.recover)
        stages.run(f"{name}-tuned", self.compressed, self.tune)

    def choose(self, keep: Keep) -> None:
        """Stage 1: attention alone, the network frozen; then every point keeps the channels that matter most.

        Methods that choose otherwise do it here.
        """
        for name in self.compressed.layout.retrained:
            self.compressed.block(self.network, name).load_state_dict(self.network.block(name).state_dict())
        attention, settings = self.compressed.attention, self.settings.attention
        if attention is not None and settings is not None:
            attention.maximum = settings.maximum
            sparsity, stage = settings.sparsity, settings.fit

            def loss_of(batch: Batch, rng: np.random.Generator) -> Tensor:
                x, labels, _ = batch
                with precision(self.config):
                    with torch.no_grad():
                        features = self._uncompressed(x)
                    weights: Tensor = attention(features)
                    logits = self._frozen_tail(weights * features).float()
                loss: Tensor = cross_entropy(logits, labels, stage)
                return loss + sparsity * weights.mean()

            self._fit("attention", stage, [(attention.parameters(), stage.rate)], 1, loss_of, keep)
        with torch.no_grad():
            for codec in self.compressed.codecs:
                codec.prepare(self._attended())
            self._prune()

    def recover(self, keep: Keep) -> None:
        """Stage 2: what makes features of what was sent, towards the attended features and the right class."""
        settings = self.settings.recover
        assert settings is not None

        def loss_of(batch: Batch, rng: np.random.Generator) -> Tensor:
            x, labels, _ = batch
            codec = self._drawn_point(rng)
            codec.train()
            with precision(self.config):
                with torch.no_grad():
                    attended = self.compressed.attended(self._uncompressed(x))
                values = codec.sent(attended)
                codec.quantiser.observe(values)
                recovered = codec.recovered(codec.disturbed(values, torch_generator(rng, x.device)))
                logits = self._frozen_tail(recovered).float()
            wanted = attended.float()
            error = functional.mse_loss(recovered.float(), wanted) / wanted.var()
            return error + cross_entropy(logits, labels, settings)

        self._fit("recovery", settings, [(self._codecs_parameters(), settings.rate)], 2, loss_of, keep)

    def tune(self, keep: Keep) -> None:
        """Stage 3: quantiser in the loop, retrained head and tail blocks, part distilled; then the coder's tables."""
        settings = self.settings.tune
        if settings is None:
            self._observe_all()
        else:
            self._fit_all(settings, keep)
        self._fit_tables()

    def accuracies(self, validation: Features) -> dict[str, float]:
        """Top-1 of the uncompressed network, and of every point as it will be used, over cached photographs.

        What is being trained is left as it was found.
        """
        training = [module for module in self.compressed.modules() if module.training]
        self.compressed.eval()
        right: dict[str, int] = {}
        with torch.no_grad():
            for where, x in validation.plain():
                features = self._uncompressed(x)
                logits = {"uncompressed": self._frozen_tail(features)}
                attended = self.compressed.attended(self._features(x) if self.settings.head else features)
                for codec in self.compressed.codecs:
                    recovered = codec.features(codec.symbols(attended))
                    logits[str(codec.point)] = self.compressed.tail(self.network, recovered)
                for name, values in logits.items():
                    right[name] = right.get(name, 0) + int((values.argmax(1) == validation.labels[where]).sum())
        for module in training:
            module.training = True
        return {name: count / len(validation) for name, count in right.items()}

    def _ranking(self) -> Ranking:
        """How much each channel of the split matters, by what the settings rank by."""
        channels = self.compressed.codecs[0].shape.channels
        by, classes = self.settings.ranking, self.network.fc.out_features
        if by == "l1":
            last = self.network.block(self.compressed.last_block)
            norm = last.conv3.weight.abs().sum((1, 2, 3)) * last.bn3.weight.abs()
            return Ranking(self.settings.split, by, tuple(norm.tolist()), ())
        if by == "random":
            drawn = np.random.default_rng([self.config.seed, channels]).random(channels)
            return Ranking(self.settings.split, by, tuple(drawn.tolist()), ())
        weights = []
        with torch.no_grad(), precision(self.config):
            for _, x in self.features.plain():
                features = self._uncompressed(x)
                if by == "attention":
                    assert self.compressed.attention is not None
                    weights.append(self.compressed.attention(features).float().flatten(1))
                else:
                    weights.append(features.float().mean((2, 3)))
        every = torch.cat(weights)
        of_classes = [importance(every[self.features.labels == label]) for label in range(classes)]
        return Ranking(
            self.settings.split,
            by,
            tuple(importance(every).tolist()),
            tuple(tuple(one.tolist()) for one in of_classes),
        )

    def _prune(self) -> None:
        """Keep each point's most important channels; let its recovery start from the attended channels' statistics."""
        codecs = [codec for codec in self.compressed.codecs if isinstance(codec, PrunedCodec)]
        if not codecs:
            return
        importances = torch.tensor(self._ranking().importances, device=self.features.labels.device)

        moments = [torch.stack([x.mean((2, 3)), x.square().mean((2, 3))]) for x in self._attended()]
        mean, square = torch.cat(moments, dim=1).mean(1)
        for codec in codecs:
            codec.recovery.kept.copy_(most_important(importances, codec.point.kept_channels))
            codec.recovery.norm.weight.copy_((square - mean.square()).clamp_min(0).sqrt())
            codec.recovery.norm.bias.copy_(mean)
            if not self.settings.recovery:
                codec.recovery.conv.weight.zero_()

    def _fit_all(self, settings: Fit, keep: Keep) -> None:
        temperature, taught_share = self.config.temperature, self.settings.distillation
        for name in self.settings.head:
            self.compressed.block(self.network, name).train()

        def loss_of(batch: Batch, rng: np.random.Generator) -> Tensor:
            x, labels, where = batch
            codec = self._drawn_point(rng)
            codec.train()
            with precision(self.config):
                attended = self.compressed.attended(self._features(x))
                values = codec.sent(attended)
                codec.quantiser.observe(values)
                quantised = codec.disturbed(codec.quantiser(values), torch_generator(rng, x.device))
                logits = self.compressed.tail(self.network, codec.recovered(quantised)).float()
            loss = (1 - taught_share) * cross_entropy(logits, labels, settings)
            if taught_share:
                taught = torch.from_numpy(self.teacher.array[where[:, 0], where[:, 1]].astype(np.float32)).to(x.device)
                loss = loss + taught_share * distillation(logits, taught, temperature)
            if self.settings.byte_price and not codec.uniform:
                follow(codec, values)
                loss = loss + self.settings.byte_price * expected_bytes(codec, values)
            return loss

        attention = self.compressed.attention
        others = [
            *self._parameters(self.settings.head),
            *(attention.parameters() if attention is not None else ()),
            *self._codecs_parameters(),
        ]
        tail = self._parameters(self.settings.tail)
        self._fit("tune", settings, [(others, settings.rate), (tail, self.settings.tail_rate)], 3, loss_of, keep)

    def _observe_all(self) -> None:
        """Let the quantisers see what is sent, where nothing is trained with them."""
        with torch.no_grad():
            for attended in self._attended():
                for codec in self.compressed.codecs:
                    codec.quantiser.observe(codec.sent(attended))

    def _fit_tables(self) -> None:
        codecs = [codec for codec in self.compressed.codecs if not codec.uniform]
        counts = {codec: np.zeros(codec.frequencies.shape, dtype=np.int64) for codec in codecs}
        with torch.no_grad():
            for _, x in self.features.plain():
                attended = self.compressed.attended(self._features(x))
                for codec, count in counts.items():
                    symbols = codec.symbols(attended).long().transpose(0, 1).flatten(1)
                    for channel, row in enumerate(symbols):
                        count[channel] += np.bincount(row.cpu().numpy(), minlength=count.shape[1])
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
        seed, steps = (self.config.seed, number), self.features.steps(settings.epochs, settings.batch)
        fit(
            f"{self.settings.name}: {stage}",
            settings,
            rated,
            partial(self.features.batch_at, batch=settings.batch, seed=seed),
            steps,
            loss_of,
            self.curve.stage(self._passes_before(number), settings.epochs, steps) if self.curve else self.progress,
            seed=seed,
            keep=keep,
        )
        self.compressed.eval()

    def _passes_before(self, number: int) -> float:
        """Passes over the photographs in the stages before this one."""
        before = (self.settings.attention and self.settings.attention.fit, self.settings.recover)[: number - 1]
        return sum(stage.epochs for stage in before if stage)

    def _parameters(self, names: Iterable[str]) -> list[nn.Parameter]:
        """Of the retrained copies of these blocks."""
        return [value for name in names for value in self.compressed.block(self.network, name).parameters()]

    def _codecs_parameters(self) -> list[nn.Parameter]:
        if not self.settings.recovery:
            return []
        return list(self.compressed.points.parameters())

    def _drawn_point(self, rng: np.random.Generator) -> PointCodec:
        codecs = self.compressed.codecs
        return codecs[int(rng.integers(len(codecs)))]

    def _attended(self) -> Iterator[Tensor]:
        """The plain photographs' features as they are before anything is retrained, float32."""
        for _, x in self.features.plain():
            with torch.no_grad(), precision(self.config):
                attended = self.compressed.attended(self._uncompressed(x))
            yield attended.float()

    def _features(self, x: Tensor) -> Tensor:
        """Through the retrained blocks, to the split."""
        return self.compressed.run(self.network, self.names, x)

    def _uncompressed(self, x: Tensor) -> Tensor:
        return run_blocks(self.network, self.names, x)

    def _frozen_tail(self, x: Tensor) -> Tensor:
        return self.network.tail(x, self.compressed.split)


def cross_entropy(logits: Tensor, labels: Tensor, settings: Fit) -> Tensor:
    """Of the labels, smoothed as the stage asks."""
    return functional.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)


def distillation(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Divergence from the teacher's softened classes, its gradient's size kept (Hinton et al. 2015)."""
    log_student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.softmax(taught / temperature, dim=1)
    return functional.kl_div(log_student, teacher, reduction="batchmean") * temperature**2
