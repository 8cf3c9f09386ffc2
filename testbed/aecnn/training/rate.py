"""What a payload costs, as a loss: the bits that the coder's own tables give its symbols."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from testbed.aecnn.codec import PointCodec
from testbed.aecnn.entropy_coder import frequencies_of

_MOMENTUM = 0.1


def expected_bytes(codec: PointCodec, values: Tensor) -> Tensor:
    """Bytes of a photograph's symbols on average, by the codec's tables: `[N, k, side, side]` of values to a scalar.

    Between two symbols the bits are interpolated, so that values are drawn towards the likelier one.
    """
    bits = -(codec.frequencies / codec.frequencies.sum(1, keepdim=True)).log2()
    scaled = codec.quantiser.scaled(values).transpose(0, 1).flatten(1)
    below = scaled.detach().floor().clamp(max=codec.quantiser.greatest - 1)
    share = scaled - below
    lower, upper = bits.gather(1, below.long()), bits.gather(1, below.long() + 1)
    return ((1 - share) * lower + share * upper).sum() / 8 / len(values)


def follow(codec: PointCodec, values: Tensor) -> None:
    """Move the codec's tables towards what these values' symbols need."""
    symbols = codec.quantiser.symbols(values.detach()).long().transpose(0, 1).flatten(1)
    seen = torch.zeros(codec.frequencies.shape, device=symbols.device)
    seen.scatter_add_(1, symbols, torch.ones_like(symbols, dtype=seen.dtype))
    known = codec.frequencies / codec.frequencies.sum(1, keepdim=True)
    mixed = torch.lerp(known, seen / symbols.shape[1], _MOMENTUM)
    counts = (mixed.cpu().numpy().astype(np.float64) * 1e6).astype(np.int64)
    codec.frequencies.copy_(torch.from_numpy(frequencies_of(counts)))
