"""Photographs mirrored, and mixed in pairs, as they are drawn, so that few can teach as many."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def mirror(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """`[N, 3, H, W]`, each photograph as likely as not turned left to right."""
    turned = torch.from_numpy(rng.random(len(pixels)) < 0.5).to(pixels.device)
    return torch.where(turned.view(-1, 1, 1, 1), pixels.flip(3), pixels)


def mix(pixels: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, float]:
    """Each photograph of `[N, 3, H, W]` with another: the mixed, the others' labels, and the share of its own.

    Half the time the two are blended (mixup, Zhang et al. 2018), half the time a rectangle is pasted from one into the
    other (CutMix, Yun et al. 2019); shares are uniform.
    """
    other = torch.from_numpy(rng.permutation(len(pixels))).to(pixels.device)
    share = float(rng.uniform())
    if rng.random() < 0.5:
        return share * pixels.float() + (1 - share) * pixels[other].float(), labels[other], share
    height, width = pixels.shape[2:]
    h, w = (round(side * math.sqrt(1 - share)) for side in (height, width))
    top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
    mixed = pixels.clone()
    mixed[:, :, top : top + h, left : left + w] = pixels[other][:, :, top : top + h, left : left + w]
    return mixed, labels[other], 1 - h * w / (height * width)
