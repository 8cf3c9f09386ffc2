"""The profile of a class of one's own: measured once, and kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from testbed.aecnn.evaluation import measure_worth
from testbed.aecnn.model import CoInferenceModel
from testbed.aecnn.own.protocol import ModelError
from testbed.aecnn.photographs import Photographs
from testbed.aecnn.profile import REPEATS
from testbed.aecnn.timing import median_s, one_thread
from testbed.jobs.decision import LOCAL, RAW, Kind, Option
from testbed.jobs.profile import Profile, ProfileRow


class _Cost(NamedTuple):
    """One stage: the FLOPs that torch counts in it, if it is one that is counted, and its seconds."""

    counted: float = 0.0
    seconds: float = 0.0

    def flops(self, reference_flops_per_s: float) -> float:
        """Those counted, or what its seconds come to at the reference speed."""
        return self.counted or self.seconds * reference_flops_per_s


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
    if whole.counted == 0:
        raise ModelError(
            f"{name}: torch counts no FLOPs in head for '{LOCAL}': compute with torch's own operations, "
            "or give the class a `profile`"
        )
    reference = whole.counted / whole.seconds
    rows = []
    for option in model.options:
        (head, encode, decode, tail), one = costs[option], worth[option]
        rows.append(
            ProfileRow(
                option,
                model.nominal_ratio(option),
                one.accuracy,
                one.mean_class_accuracy,
                one.payload_mean,
                one.payload_p95,
                head.flops(reference),
                encode.flops(reference),
                decode.flops(reference),
                tail.flops(reference),
                head.seconds,
                encode.seconds,
                decode.seconds,
                tail.seconds,
                one.accuracy_interval,
                one.mean_class_interval,
            )
        )
    identity = hashlib.sha256(model.fingerprint.encode()).hexdigest()
    runtime = f"torch {torch.__version__}"
    return Profile(identity, images, len(photographs), model.input_px, reference, tuple(rows), runtime)


def _costs(
    model: CoInferenceModel, option: Option, pixels: list[NDArray[np.uint8]], whole: _Cost
) -> tuple[_Cost, _Cost, _Cost, _Cost]:
    """Head, encoding, decoding and tail. Handing a photograph through takes nothing."""
    nothing = _Cost()
    head = partial(model.head, option=option)
    encode, decode = partial(model.encode, option=option, image=0), partial(model.decode, option=option, image=0)
    if option.kind is Kind.LOCAL:
        return _counted(head, pixels), nothing, nothing, nothing
    if option == RAW:
        return nothing, nothing, nothing, whole
    if option.kind is Kind.FULL:
        sent = [encode(one) for one in pixels]
        return nothing, _timed(encode, pixels), _timed(decode, sent), whole
    features = [head(one) for one in pixels]
    payloads = [encode(one) for one in features]
    received = [decode(one) for one in payloads]
    return (
        _counted(head, pixels),
        _timed(encode, features),
        _timed(decode, payloads),
        _counted(partial(model.tail, option=option), received),
    )


def _counted(work: Callable[[Any], object], inputs: list[Any]) -> _Cost:
    with FlopCounterMode(display=False) as counter:
        work(inputs[0])
    return _Cost(float(counter.get_total_flops()), median_s(work, inputs))


def _timed(work: Callable[[Any], object], inputs: list[Any]) -> _Cost:
    return _Cost(seconds=median_s(work, inputs))
