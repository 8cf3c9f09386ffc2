"""A photograph as training sees it: cropped, flipped, its light changed, and always through a device's JPEG."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch import Tensor

from testbed.aecnn.photographs import JPEG_QUALITY, decode_jpeg, encode_jpeg

LEAST_AREA = 0.5
ASPECT = 4 / 3
LIGHT = 0.25


def copies_of(photograph: Image.Image, copies: int, seed: Sequence[int], px: int) -> NDArray[np.uint8]:
    """`[copies, 3, px, px]`: the first as a device would send it, the others augmented."""
    rng = np.random.default_rng(seed)
    images = [_scaled(photograph, None, px)] + [_augmented(photograph, rng, px) for _ in range(copies - 1)]
    pixels = [decode_jpeg(encode_jpeg(images[0]))]
    pixels += [decode_jpeg(encode_jpeg(image, int(rng.integers(JPEG_QUALITY - 20, 96)))) for image in images[1:]]
    return np.stack(pixels).transpose(0, 3, 1, 2)


def _scaled(photograph: Image.Image, box: tuple[float, float, float, float] | None, px: int) -> Image.Image:
    return photograph.resize((px, px), Image.Resampling.BICUBIC, box=box)


def _augmented(photograph: Image.Image, rng: np.random.Generator, px: int) -> Image.Image:
    width, height = photograph.size
    area = rng.uniform(LEAST_AREA, 1)
    stretch = math.exp(rng.uniform(-1, 1) * math.log(ASPECT) / 2)
    w = min(1.0, math.sqrt(area) * stretch) * width
    h = min(1.0, math.sqrt(area) / stretch) * height
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    image = _scaled(photograph, (left, top, left + w, top + h), px)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(1 - LIGHT, 1 + LIGHT))
    return image


def mirror(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """`[N, 3, H, W]`, each photograph as likely as not turned left to right."""
    turned = torch.from_numpy(rng.random(len(pixels)) < 0.5).to(pixels.device)
    return torch.where(turned.view(-1, 1, 1, 1), pixels.flip(3), pixels)
