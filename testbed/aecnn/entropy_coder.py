"""The entropy coder: range coding of symbols with a static table of frequencies for each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import constriction
import numpy as np
from numpy.typing import NDArray

TOTAL = 1 << 16
"""What each channel's frequencies sum to."""

SEAL_BYTES = 8
"""What coded symbols take at the most beyond their tables' cross-entropy: the coder ends on a 32-bit word."""

Frequencies = NDArray[np.int32]
Symbols = NDArray[np.int32]


class CodeError(ValueError):
    """Coded bytes that no encoder with these tables can have made."""


class EntropyCoder:
    """Codes `[k, positions]` symbols; channel c's are drawn from `frequencies[c]` (`[k, levels]`, each at least 1).

    Whole-numbered tables are turned into probabilities by one division in double precision, so every machine builds the
    same models from the same tables.
    """

    def __init__(self, frequencies: Frequencies) -> None:
        if frequencies.min() < 1:
            raise ValueError("a symbol of frequency 0 could not be coded")
        totals = frequencies.sum(axis=1, dtype=np.int64, keepdims=True)
        self._probabilities = frequencies.astype(np.float64) / totals
        self._models = [constriction.stream.model.Categorical(row, perfect=False) for row in self._probabilities]

    def encode(self, symbols: Symbols) -> bytes:
        """Symbols to bytes, a multiple of four of them."""
        encoder = constriction.stream.queue.RangeEncoder()
        for channel, model in zip(symbols, self._models, strict=True):
            encoder.encode(np.ascontiguousarray(channel, dtype=np.int32), model)
        return bytes(encoder.get_compressed().astype("<u4").tobytes())

    def decode(self, data: bytes, positions: int) -> Symbols:
        """`[k, positions]` symbols from what `encode` made.

        Raises:
            CodeError: the bytes are not whole words, or go on after the last symbol.
        """
        if len(data) % 4:
            raise CodeError(f"{len(data)} bytes are not whole 32-bit words")
        decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
        try:
            rows: list[Symbols] = [decoder.decode(model, positions) for model in self._models]
        except AssertionError as error:
            raise CodeError(str(error)) from None
        if not decoder.maybe_exhausted():
            raise CodeError("bytes go on after the last symbol")
        return np.stack(rows).astype(np.int32)

    def most_bytes(self, positions: int) -> int:
        """What `encode` gives at the most for `[k, positions]` symbols: where each is its channel's unlikeliest."""
        unlikeliest = float(-np.log2(self._probabilities.min(axis=1)).sum())
        return math.ceil(unlikeliest * positions / 8) + SEAL_BYTES

    def cross_entropy_bits(self, symbols: Symbols) -> float:
        """What the tables themselves say that these symbols cost, in bits."""
        rows = zip(symbols, self._probabilities, strict=True)
        return float(sum(-np.log2(probabilities[channel]).sum() for channel, probabilities in rows))


def frequencies_of(counts: Sequence[NDArray[np.int64]] | NDArray[np.int64]) -> Frequencies:
    """Tables from how often each symbol was seen, `[k, levels]`: every row sums to 65536, none is below 1."""
    seen = np.asarray(counts, dtype=np.int64)
    levels = seen.shape[1]
    share: NDArray[np.int64] = (seen * (TOTAL - levels)) // np.maximum(seen.sum(axis=1, keepdims=True), 1)
    share += 1
    likeliest = share.argmax(axis=1)
    share[np.arange(len(share)), likeliest] += TOTAL - share.sum(axis=1)
    return share.astype(np.int32)
