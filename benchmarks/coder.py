"""The range coder beside its tables' cross-entropy, ANS and Huffman codes, on the shipped photographs.

    python benchmarks/coder.py [PHOTOGRAPHS] [CHECKPOINT]

For every operating point, means of coded bytes a photograph, the header apart: the tables' cross-entropy; the product's
range coder, and the most that it takes beyond the cross-entropy on any photograph (bound: 8); ANS (constriction's, a
stack) with the same tables; Huffman codes of the same tables (a call for each symbol); zlib restricted to Huffman codes
(a byte a symbol going in).

Then medians of encoding and decoding, in milliseconds of CPU on one thread, the coders by turns and each first as often
as the others; of the stages `encode` (attention, pruning, quantiser, coder) and `decode` (with feature recovery); and
the encoder's FLOPs over the head's, by the checkpoint's profile (bound: 10 %).
"""

import statistics
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

import constriction
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from testbed.aecnn.checkpoint import load_checkpoint
from testbed.aecnn.entropy_coder import EntropyCoder, Frequencies, Symbols
from testbed.aecnn.loading import load_model
from testbed.aecnn.payload import HEADER_BYTES
from testbed.aecnn.photographs import open_photographs
from testbed.jobs.decision import Kind


class Coder(Protocol):
    def encode(self, symbols: Symbols) -> bytes: ...

    def decode(self, data: bytes, positions: int) -> Symbols: ...


class Ans:
    """What is coded last is decoded first, so channels and symbols go in backwards."""

    def __init__(self, frequencies: Frequencies) -> None:
        shares = frequencies / frequencies.sum(axis=1, keepdims=True)
        self._models = [constriction.stream.model.Categorical(row, perfect=False) for row in shares]

    def encode(self, symbols: Symbols) -> bytes:
        coder = constriction.stream.stack.AnsCoder()
        for channel, model in zip(symbols[::-1], self._models[::-1], strict=True):
            coder.encode_reverse(np.ascontiguousarray(channel, dtype=np.int32), model)
        return bytes(coder.get_compressed().tobytes())

    def decode(self, data: bytes, positions: int) -> Symbols:
        coder = constriction.stream.stack.AnsCoder(np.frombuffer(data, "<u4").astype(np.uint32))
        return np.stack([coder.decode(model, positions) for model in self._models])


class Huffman:
    """A code for each channel, from its table."""

    def __init__(self, frequencies: Frequencies) -> None:
        shares = frequencies / frequencies.sum(axis=1, keepdims=True)
        self._encoders = [constriction.symbol.huffman.EncoderHuffmanTree(row) for row in shares]
        self._decoders = [constriction.symbol.huffman.DecoderHuffmanTree(row) for row in shares]

    def encode(self, symbols: Symbols) -> bytes:
        coder = constriction.symbol.QueueEncoder()
        for channel, codes in zip(symbols.tolist(), self._encoders, strict=True):
            for symbol in channel:
                coder.encode_symbol(symbol, codes)
        words, bits = coder.get_compressed()
        return bytes(words.tobytes()[: -(-bits // 8)])

    def decode(self, data: bytes, positions: int) -> Symbols:
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4")
        coder = constriction.symbol.QueueDecoder(words.astype(np.uint32))
        rows = [[coder.decode_symbol(codes) for _ in range(positions)] for codes in self._decoders]
        return np.array(rows, dtype=np.int32)


class Zlib:
    def __init__(self, frequencies: Frequencies) -> None:
        self._channels = len(frequencies)

    def encode(self, symbols: Symbols) -> bytes:
        coder = zlib.compressobj(9, zlib.DEFLATED, -15, strategy=zlib.Z_HUFFMAN_ONLY)
        return coder.compress(symbols.astype("u1").tobytes()) + coder.flush()

    def decode(self, data: bytes, positions: int) -> Symbols:
        return np.frombuffer(zlib.decompress(data, -15), "u1").reshape(self._channels, positions).astype(np.int32)


CODERS: dict[str, Callable[[Frequencies], Coder]] = {
    "range": EntropyCoder,
    "ANS": Ans,
    "Huffman": Huffman,
    "zlib": Zlib,
}


def main() -> None:
    torch.set_num_threads(1)
    named = sys.argv[2] if len(sys.argv) > 2 else "default"
    checkpoint, model = load_checkpoint(named), load_model(named)
    sample = open_photographs("sample", model.classes)
    photographs = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    chosen = [int(index) for index in np.linspace(0, len(sample) - 1, min(photographs, len(sample)))]
    sizes = Table("operating point", title=f"bytes a photograph, mean of {len(chosen)}; header {HEADER_BYTES} more")
    times = Table("operating point", title="encode / decode, median CPU ms")
    for column in ("entropy", "range", "most beyond", "ANS", "Huffman", "zlib"):
        sizes.add_column(column, justify="right")
    for column in (*CODERS, "stages", "encoder / head"):
        times.add_column(column, justify="right", no_wrap=True)
    options = [one for one in model.options if one.kind is Kind.SPLIT and one not in model.comparisons]
    for option in track(options, console=Console(stderr=True)):
        point = option.point
        assert point is not None
        frequencies = checkpoint.splits[point.split].codec(point).frequencies.numpy()
        tables = EntropyCoder(frequencies)
        coders = {name: make(frequencies) for name, make in CODERS.items()}
        taken: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
        bytes_of: dict[str, list[int]] = defaultdict(list)
        entropies = []

        def clocked(name: str, stage: int, work: Callable[[], object], taken=taken) -> object:
            start = time.process_time()
            made = work()
            taken[name][stage].append((time.process_time() - start) * 1e3)
            return made

        names = list(coders)
        for index in chosen:
            features = model.head(sample.pixels(index), option)
            symbols = model.symbols(features, option)
            entropies.append(tables.cross_entropy_bits(symbols) / 8)
            names.append(names.pop(0))  # the first finds the caches full of the network
            for name in names:
                coder = coders[name]
                data = clocked(name, 0, lambda coder=coder, symbols=symbols: coder.encode(symbols))
                decoded = clocked(name, 1, lambda coder=coder, data=data, n=symbols.shape[1]: coder.decode(data, n))
                assert np.array_equal(decoded, symbols)
                bytes_of[name].append(len(data))
            payload = clocked("stages", 0, lambda one=features, option=option, at=index: model.encode(one, option, at))
            clocked("stages", 1, lambda one=payload, option=option, at=index: model.decode(one, option, at))
        means = {name: f"{statistics.mean(bytes_of[name]):.1f}" for name in CODERS}
        beyond = max(coded - entropy for coded, entropy in zip(bytes_of["range"], entropies, strict=True))
        sizes.add_row(
            str(point), f"{statistics.mean(entropies):.1f}", means.pop("range"), f"{beyond:.1f}", *means.values()
        )
        row = model.profile.by_option[option]
        medians = [
            " / ".join(f"{statistics.median(stage):.3f}" for stage in taken[name]) for name in (*CODERS, "stages")
        ]
        times.add_row(str(point), *medians, f"{row.encode_flops / row.head_flops:.1%}")
    Console(width=130).print(sizes, times)


if __name__ == "__main__":
    main()
