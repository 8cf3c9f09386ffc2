"""ONNX Runtime beside torch eager: what heads, tails and the whole network take, and what they answer.

    python benchmarks/inference.py [PHOTOGRAPHS] [CHECKPOINT]

Milliseconds of CPU, one photograph at a time on one thread, the two by turns, round after round: medians, and ratios of
the two in one run. Encoder (attention, pruning, quantiser) and decoder (feature recovery) are those of each split's
first point.
Then, over the photographs: the greatest difference of features, the symbols that come out otherwise because a feature
lies on the edge between two, and the classes that do.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from testbed.aecnn.inference import SplitModel
from testbed.aecnn.loading import load_model
from testbed.aecnn.photographs import Photographs, open_photographs
from testbed.jobs.decision import Kind, Option

ROUNDS = 60
PROGRESS = Console(stderr=True)


def first_of_each_split(model: SplitModel) -> dict[str, Option]:
    """An operating point for each split: they share its head and its tail."""
    return {option.point.split: option for option in reversed(own_options(model)) if option.point}


def own_options(model: SplitModel) -> list[Option]:
    """Local, and AECNN's operating points."""
    chosen = (option for option in model.options if option not in model.comparisons)
    return [option for option in chosen if option.kind in (Kind.LOCAL, Kind.SPLIT)]


def timed(models: list[SplitModel], sample: Photographs) -> Table:
    pixels = [sample.pixels(index) for index in range(ROUNDS)]
    parts: dict[str, Callable[[SplitModel, int], object]] = {"whole": lambda by, n: by.predict_local(pixels[n])}
    for split, option in first_of_each_split(models[0]).items():
        head = models[0].head(pixels[0], option)
        symbols = models[0].symbols(head, option)
        features = models[0].recover(symbols, option)
        parts[f"{split} head"] = lambda by, n, option=option: by.head(pixels[n], option)
        parts[f"{option.point} encoder"] = lambda by, n, option=option, head=head: by.symbols(head, option)
        parts[f"{option.point} decoder"] = lambda by, n, option=option, symbols=symbols: by.recover(symbols, option)
        parts[f"{split} tail"] = lambda by, n, option=option, features=features: by.tail(features, option)
    for part in parts.values():
        for model in models:
            part(model, 0)
    times: dict[str, list[list[float]]] = {name: [[] for _ in models] for name in parts}
    for number in track(range(ROUNDS), "timing", console=PROGRESS):
        for name, part in parts.items():
            for model, taken in zip(models, times[name], strict=True):
                start = time.process_time()
                part(model, number)
                taken.append(time.process_time() - start)
    table = Table("part", title=f"CPU ms a photograph, median of {ROUNDS}")
    for column in (*(model.runtime for model in models), "ratio"):
        table.add_column(column, justify="right")
    for name, taken in times.items():
        torchs, onnxs = (statistics.median(one) * 1e3 for one in taken)
        table.add_row(name, f"{torchs:.3f}", f"{onnxs:.3f}", f"{torchs / onnxs:.2f}")
    return table


def compared(models: list[SplitModel], sample: Photographs, photographs: int) -> Table:
    options = own_options(models[0])
    chosen = np.linspace(0, len(sample) - 1, photographs).astype(int)
    difference, flipped = dict.fromkeys(options, 0.0), dict.fromkeys(options, 0)
    symbols_of, otherwise = dict.fromkeys(options, 0), dict.fromkeys(options, 0)
    for index in track(chosen, "comparing", console=PROGRESS):
        pixels = sample.pixels(int(index))
        for option in options:
            one, other = (model.head(pixels, option) for model in models)
            if option.kind is Kind.SPLIT:
                difference[option] = max(difference[option], float((one - other).abs().max()))
                symbols = [model.symbols(made, option) for model, made in zip(models, (one, other), strict=True)]
                flipped[option] += int((symbols[0] != symbols[1]).sum())
                symbols_of[option] += symbols[0].size
                one, other = (model.recover(made, option) for model, made in zip(models, symbols, strict=True))
            otherwise[option] += models[0].tail(one, option) != models[1].tail(other, option)
    table = Table("option", title=f"{photographs} photographs")
    for column in ("features differ", "symbols otherwise", "classes otherwise"):
        table.add_column(column, justify="right")
    for option in options:
        of_features = f"{difference[option]:.1e}" if option.point else ""
        of_symbols = f"{flipped[option]} of {symbols_of[option]:,}" if option.point else ""
        table.add_row(str(option.point or "local"), of_features, of_symbols, str(otherwise[option]))
    return table


def main() -> None:
    torch.set_num_threads(1)
    photographs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    checkpoint = sys.argv[2] if len(sys.argv) > 2 else "default"
    models = [load_model(checkpoint, "torch"), load_model(checkpoint, "onnx")]
    sample = open_photographs("sample", models[0].classes)
    Console().print(timed(models, sample))
    Console().print(compared(models, sample, min(photographs, len(sample))))


if __name__ == "__main__":
    main()
