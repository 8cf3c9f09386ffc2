"""The profile of a class of one's own: measured once, and kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from testbed.aecnn.evaluation import measure_worth
from testbed.aecnn.model import CoInferenceModel
from testbed.aecnn.own.protocol import ModelError
from testbed.aecnn.photographs import Photographs
from testbed.aecnn.profile import REPEATS, Cost, codec_cost, flops_of, profile_row
from testbed.aecnn.timing import median_s, one_thread
from testbed.jobs.decision import LOCAL, RAW, Kind, Option
from testbed.jobs.profile import Profile


def kept_profile(
    file: Path,
    name: str,
    model: CoInferenceModel,
    photographs: Photographs,
    images: str,
    progress: Callable[[float], None],
) -> Profile:
    """The profile that the file keeps, measured now and written there if it is not.

    Raises:
        ModelError: the model cannot be measured.
    """
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(file.read_bytes(), type=Profile)
    profile = measure(name, model, photographs, images, progress)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.write_bytes(msgspec.json.encode(profile))
    unfinished.rename(file)
    return profile


def measure(
    name: str, model: CoInferenceModel, photographs: Photographs, images: str, progress: Callable[[float], None]
) -> Profile:
    """The profile of the model of that name over all the photographs, which are called `images`.

    FLOPs of heads and tails are those that torch counts. Encoding and decoding, which are mostly work that it does not
    count, and heads and tails without any, come to their seconds at the speed of the whole network.

    Raises:
        ModelError: a stage fails, or torch counts no FLOPs in the whole network.
    """
    with one_thread():
        worth = measure_worth(model, photographs, progress)
        chosen = np.linspace(0, len(photographs) - 1, REPEATS).astype(int)
        pixels = [photographs.pixels(int(index)) for index in chosen]
        whole = _counted(partial(model.head, option=LOCAL), pixels)
        costs = {option: _costs(model, option, pixels, whole) for option in model.options}
    if whole.layer_flops == 0:
        raise ModelError(
            f"{name}: torch counts no FLOPs in head for '{LOCAL}': compute with torch's own operations, "
            "or give the class a `profile`"
        )
    reference = whole.layer_flops / whole.seconds
    rows = [profile_row(model, option, costs[option], worth[option], reference) for option in model.options]
    identity = hashlib.sha256(model.fingerprint.encode()).hexdigest()
    runtime = f"torch {torch.__version__}"
    return Profile(identity, images, len(photographs), model.input_px, reference, tuple(rows), runtime)


def _costs(
    model: CoInferenceModel, option: Option, pixels: list[NDArray[np.uint8]], whole: Cost
) -> tuple[Cost, Cost, Cost, Cost]:
    """Head, encoding, decoding and tail. Handing a photograph through takes nothing."""
    nothing = Cost()
    head = partial(model.head, option=option)
    encode, decode = partial(model.encode, option=option, image=0), partial(model.decode, option=option, image=0)
    if option.kind is Kind.LOCAL:
        return _counted(head, pixels), nothing, nothing, nothing
    if option == RAW:
        return nothing, nothing, nothing, whole
    if option.kind is Kind.FULL:
        sent = [encode(one) for one in pixels]
        return nothing, codec_cost(encode, pixels), codec_cost(decode, sent), whole
    features = [head(one) for one in pixels]
    payloads = [encode(one) for one in features]
    received = [decode(one) for one in payloads]
    return (
        _counted(head, pixels),
        codec_cost(encode, features),
        codec_cost(decode, payloads),
        _counted(partial(model.tail, option=option), received),
    )


def _counted(work: Callable[[Any], object], inputs: list[Any]) -> Cost:
    """What torch counts; the seconds, where it counts nothing."""
    counted, seconds = flops_of(lambda: work(inputs[0])), median_s(work, inputs)
    return Cost(counted, seconds, 0.0 if counted else seconds)
