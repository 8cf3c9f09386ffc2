"""Codecs and features to try them with."""

import torch
from torch import Tensor

from testbed.aecnn.codec import PointCodec, Shape
from testbed.aecnn.compression import CompressedSplit, Layout
from testbed.aecnn.methods import AECNN, CODECS
from testbed.jobs.decision import OperatingPoint

RIVALS = tuple(method for method in CODECS if method != AECNN)
TRAINED = ("bottlenet++", "bottlenet++awgn", "deepjscc", "entropic-student")


def codec_of(method: str, channels: int, px: int, k: int, bits: int = 8) -> PointCodec:
    """A codec as training finds it, its weights drawn with one seed."""
    torch.manual_seed(k)
    return CODECS[method](OperatingPoint("layer3", k, bits), Shape(channels, px))


def split_of(method: str, split: str, width: float = 0.5, px: int = 128, k: int = 8, bits: int = 8) -> CompressedSplit:
    """A split with one operating point, and no retrained blocks."""
    torch.manual_seed(k)
    layout = Layout(split, (OperatingPoint(split, k, bits),), (), method)
    return CompressedSplit(layout, width, px, original=True)


def features_like(n: int, shape: Shape, seed: int = 0, grain: int = 2) -> Tensor:
    """`[n, C, H, W]`: rectified mixtures of few patterns, smooth over `grain` places, as a network's features are."""
    generator = torch.Generator().manual_seed(seed)
    patterns = 4 + shape.channels // 8
    side = -(-shape.px // grain)
    sources = torch.randn(n, patterns, side, side, generator=generator)
    sources = torch.nn.functional.interpolate(sources, size=(shape.px, shape.px), mode="bilinear")
    mixing = torch.randn(shape.channels, patterns, generator=torch.Generator().manual_seed(1)) / patterns**0.5
    return torch.relu(torch.einsum("cp,nphw->nchw", mixing, sources) + 0.2)


def calibrated(codec: PointCodec, features: Tensor) -> PointCodec:
    """The codec with its statistics and ranges taken from features, ready for inference."""
    codec.prepare(iter(features.split(8)))
    generator = torch.Generator().manual_seed(0)
    codec.train()
    with torch.no_grad():
        for batch in features.split(8):
            values = codec.sent(batch)
            codec.quantiser.observe(values)
            codec.recovered(codec.disturbed(codec.quantiser(values), generator))
    return codec.eval().requires_grad_(False)
