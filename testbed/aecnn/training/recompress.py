"""The network tuned to photographs compressed once more: what JPEG and WebP can do if they are trained too."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from testbed.aecnn.photographs import decode_photograph, recompressed
from testbed.aecnn.resnet import ResNet50
from testbed.aecnn.training.backbone import precision
from testbed.aecnn.training.cache import Features
from testbed.aecnn.training.compress import cross_entropy, distillation
from testbed.aecnn.training.config import Config, Fit
from testbed.aecnn.training.device import placed
from testbed.aecnn.training.fitting import Batch, fit
from testbed.aecnn.training.keeping import Keep, Stages
from testbed.aecnn.training.progress import Progress

NAME = "recompressed"


def train_on_recompressed(
    network: ResNet50,
    settings: Fit,
    pixels: Features,
    teacher: Features,
    config: Config,
    stages: Stages,
    progress: Progress,
) -> ResNet50:
    """A copy of the network, trained whole on photographs in every encoding of the configuration, half distilled from
    the network itself on photographs as they are; as the compressions are.

    Args:
        network: the uncompressed network; it stays as it is.
        settings: for how long, and at what rate.
        pixels: cached `[copies, photographs, 3, H, W]`.
        teacher: the network's logits of them.
        config: of the run.
        stages: where it is kept.
        progress: is told.
    """
    tuned = placed(copy.deepcopy(network)).requires_grad_(True)

    def train(keep: Keep) -> None:
        seed = (config.seed, 5)
        px = config.input_px
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:

            def loss_of(batch: Batch, rng: np.random.Generator) -> Tensor:
                x, labels, where = batch
                drawn = rng.integers(len(config.recompressed), size=len(x))
                encodings = [config.recompressed[int(one)] for one in drawn]
                images = x.permute(0, 2, 3, 1).cpu().numpy()
                again = torch.from_numpy(np.stack(list(pool.map(partial(_again, px=px), images, encodings))))
                with precision(config):
                    logits = tuned(again.permute(0, 3, 1, 2).to(x.device)).float()
                taught = torch.from_numpy(teacher.array[where[:, 0], where[:, 1]].astype(np.float32)).to(x.device)
                hard = cross_entropy(logits, labels, settings)
                return 0.5 * hard + 0.5 * distillation(logits, taught, config.temperature)

            tuned.train()
            fit(
                NAME,
                settings,
                [(tuned.parameters(), settings.rate)],
                partial(pixels.batch_at, batch=settings.batch, seed=seed),
                pixels.steps(settings.epochs, settings.batch),
                loss_of,
                progress,
                seed=seed,
                keep=keep,
            )

    stages.run(NAME, tuned, train)
    return tuned.eval().requires_grad_(False)


def _again(pixels: NDArray[np.uint8], encoding: str, px: int) -> NDArray[np.uint8]:
    return decode_photograph(recompressed(pixels, encoding), px)
