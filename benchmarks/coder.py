"""The entropy coder beside its tables' cross-entropy and zlib's Huffman coding, on the shipped photographs.

    python benchmarks/coder.py [PHOTOGRAPHS]

For every operating point of the default checkpoint: bytes a photograph as the tables' cross-entropy, as coded (header
apart), and by zlib restricted to Huffman codes (a byte a symbol going in); ratios to the entropy; median milliseconds.
"""

import statistics
import sys
import time
import zlib
from collections.abc import Callable

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from testbed.aecnn.checkpoint import load_checkpoint
from testbed.aecnn.entropy_coder import EntropyCoder
from testbed.aecnn.inference import load_model
from testbed.aecnn.photographs import open_photographs
from testbed.jobs.decision import Kind


def huffman(data: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -15, strategy=zlib.Z_HUFFMAN_ONLY)
    return coder.compress(data) + coder.flush()


def median_ms(work: Callable[[], object], repeats: int = 15) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def main() -> None:
    torch.set_num_threads(1)
    checkpoint, model = load_checkpoint(), load_model()
    sample = open_photographs("sample", model.classes)
    photographs = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    chosen = range(0, len(sample), max(1, len(sample) // photographs))
    table = Table(title=f"bytes a photograph, mean of {len(chosen)}")
    table.add_column("operating point")
    for column in ("entropy", "coded", "ratio", "Huffman", "ratio", "encode ms", "decode ms"):
        table.add_column(column, justify="right")
    for option in track([one for one in model.options if one.kind is Kind.SPLIT], console=Console(stderr=True)):
        point = option.point
        assert point is not None
        coder = EntropyCoder(checkpoint.splits[point.split].codec(point).frequencies.numpy())
        symbols = [model.symbols(model.head(sample.pixels(index), option), option) for index in chosen]
        coded = [coder.encode(one) for one in symbols]
        entropy = statistics.mean(coder.cross_entropy_bits(one) / 8 for one in symbols)
        size = statistics.mean(map(len, coded))
        zipped = statistics.mean(len(huffman(one.astype("u1").tobytes())) for one in symbols)
        encode_ms = median_ms(lambda coder=coder, one=symbols[0]: coder.encode(one))
        decode_ms = median_ms(lambda coder=coder, data=coded[0], n=symbols[0].shape[1]: coder.decode(data, n))
        numbers = [f"{entropy:.0f}", f"{size:.0f}", f"{size / entropy:.3f}", f"{zipped:.0f}", f"{zipped / entropy:.3f}"]
        table.add_row(str(point), *numbers, f"{encode_ms:.2f}", f"{decode_ms:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
