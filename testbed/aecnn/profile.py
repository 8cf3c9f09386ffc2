"""Measures the profile: what each option of a checkpoint costs and is worth over a set of photographs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from testbed.aecnn.evaluation import Worth, measure_worth
from testbed.aecnn.inference import SplitModel
from testbed.aecnn.model import CoInferenceModel
from testbed.aecnn.photographs import Photographs
from testbed.aecnn.timing import median_s
from testbed.jobs.decision import LOCAL, RAW, Kind, Option
from testbed.jobs.profile import Profile, ProfileRow

REPEATS = 25
"""How often each part is timed, each time on another photograph; the median counts."""


class Cost(msgspec.Struct, frozen=True):
    """One part of an option: FLOPs of its layers, its seconds, and those of them that its codec takes.

    The codec (entropy coder, JPEG) is what computes without floating-point operations that could be counted.
    """

    layer_flops: float = 0.0
    seconds: float = 0.0
    codec_s: float = 0.0

    def flops(self, reference_flops_per_s: float) -> float:
        """FLOPs of the layers, and the codec's equivalent at the reference speed."""
        return self.layer_flops + self.codec_s * reference_flops_per_s


def measure_profile(
    model: SplitModel, photographs: Photographs, images: str, progress: Callable[[float], None]
) -> Profile:
    """The profile over all the photographs, which are called `images`. Tell torch to use one thread before."""
    worth = measure_worth(model, photographs, progress)
    chosen = np.linspace(0, len(photographs) - 1, REPEATS).astype(int)
    pixels = [photographs.pixels(int(index)) for index in chosen]
    whole = _cost(model, SplitModel.predict_local, pixels)
    reference = whole.layer_flops / whole.seconds
    rows = []
    for option in model.options:
        costs = _costs(model, option, pixels, whole)
        rows.append(profile_row(model, option, costs, worth[option], reference, option in model.comparisons))
    return Profile(model.sha256, images, len(photographs), model.input_px, reference, tuple(rows), model.runtime)


def profile_row(
    model: CoInferenceModel,
    option: Option,
    costs: tuple[Cost, Cost, Cost, Cost],
    worth: Worth,
    reference: float,
    comparison: bool = False,
) -> ProfileRow:
    """What the profile says of an option: the costs of head, encoding, decoding and tail, with FLOPs at a reference
    speed in FLOPs a second, and its worth.
    """
    head, encode, decode, tail = costs
    return ProfileRow(
        option,
        model.nominal_ratio(option),
        worth.accuracy,
        worth.mean_class_accuracy,
        worth.payload_mean,
        worth.payload_p95,
        head.flops(reference),
        encode.flops(reference),
        decode.flops(reference),
        tail.flops(reference),
        head.seconds,
        encode.seconds,
        decode.seconds,
        tail.seconds,
        worth.accuracy_interval,
        worth.mean_class_interval,
        comparison,
    )


def _costs(
    model: SplitModel, option: Option, pixels: list[NDArray[np.uint8]], whole: Cost
) -> tuple[Cost, Cost, Cost, Cost]:
    """Head, encoding, decoding and tail. Handing a photograph through takes nothing."""
    nothing = Cost()
    if option == LOCAL:
        return whole, nothing, nothing, nothing
    if option.kind is Kind.LOCAL:
        return _cost(model, lambda by, one: by.head(one, option), pixels), nothing, nothing, nothing
    if option == RAW:
        return nothing, nothing, nothing, whole
    if option.kind is Kind.FULL:
        sent = [model.encode(one, option, 0) for one in pixels]
        encode, decode = partial(model.encode, option=option, image=0), partial(model.decode, option=option, image=0)
        return nothing, codec_cost(encode, pixels), codec_cost(decode, sent), whole
    features = [model.head(one, option) for one in pixels]
    symbols = [model.symbols(one, option) for one in features]
    pack, unpack = partial(model.pack, option=option, image=0), partial(model.unpack, option=option, image=0)
    payloads = [pack(one) for one in symbols]
    recovered = [model.recover(one, option) for one in symbols]
    attention = _cost(model, lambda by, one: by.symbols(one, option), features)
    recovery = _cost(model, lambda by, one: by.recover(one, option), symbols)
    return (
        _cost(model, lambda by, one: by.head(one, option), pixels),
        _both(attention, codec_cost(pack, symbols)),
        _both(codec_cost(unpack, payloads), recovery),
        _cost(model, lambda by, one: by.tail(one, option), recovered),
    )


def device_flops(model: SplitModel, option: Option, pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """What a split option computes on the device: FLOPs of the head, and of what makes symbols of its features."""
    by_torch = model.by_torch()
    head = flops_of(lambda: by_torch.head(pixels, option))
    features = by_torch.head(pixels, option)
    return head, flops_of(lambda: by_torch.symbols(features, option))


def _cost(model: SplitModel, work: Callable[[SplitModel, Any], object], inputs: list[Any]) -> Cost:
    """FLOPs as torch counts them, seconds as the model's runtime takes them."""
    return Cost(flops_of(lambda: work(model.by_torch(), inputs[0])), median_s(partial(work, model), inputs))


def flops_of(work: Callable[[], object]) -> float:
    """FLOPs that torch counts in a computation."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def codec_cost(work: Callable[[Any], object], inputs: list[Any]) -> Cost:
    """Of work in which nothing is counted, as a part."""
    seconds = median_s(work, inputs)
    return Cost(0.0, seconds, seconds)


def _both(first: Cost, second: Cost) -> Cost:
    return Cost(first.layer_flops + second.layer_flops, first.seconds + second.seconds, first.codec_s + second.codec_s)
