"""Inference with a checkpoint: every option's four stages, for one photograph or prepared for many."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from testbed.aecnn.checkpoint import Checkpoint, load_checkpoint, load_profile
from testbed.aecnn.entropy_coder import EntropyCoder, Symbols
from testbed.aecnn.onnx_runtime import OnnxRuntime
from testbed.aecnn.parts import WHOLE, Runtime, TorchRuntime, decoder_of, encoder_of, head_of, parts_of, tail_of
from testbed.aecnn.payload import VERSION, Identity, PayloadError, pack, unpack
from testbed.aecnn.photographs import PhotographError, Photographs, decode_jpeg, encode_jpeg
from testbed.aecnn.resnet import fold, stage_channels, stage_px
from testbed.documents.resolved import RuntimeName
from testbed.jobs.decision import LOCAL, Kind, OperatingPoint, Option
from testbed.jobs.profile import Profile

Photograph = NDArray[np.uint8] | bytes
"""A photograph as a device has it: `[height, width, 3]` pixels, or their JPEG."""

RAW = Option(Kind.FULL, "raw")
JPEG = Option(Kind.FULL, "jpeg")


class Prepared(msgspec.Struct, frozen=True):
    """What one option sends for one photograph, and what the network then answers."""

    option: Option
    image: int
    payload: bytes
    predicted: int


class SplitModel:
    """A checkpoint ready for inference: stages `head` and `encode` on the device, `decode` and `tail` on the edge.

    Photographs are computed one at a time throughout, so that `prepare` gives exactly what the single stages give.
    ONNX Runtime computes on one thread, torch on as many as it has been told to use.
    """

    def __init__(self, checkpoint: Checkpoint, runtime: RuntimeName = "onnx") -> None:
        self.sha256 = checkpoint.sha256
        self.classes = checkpoint.description.classes
        self.input_px = checkpoint.description.input_px
        self._width = checkpoint.description.width
        self._path = checkpoint.path
        self._splits = tuple(checkpoint.splits)
        self._coders = {
            codec.point: EntropyCoder(codec.frequencies.numpy())
            for split in checkpoint.splits.values()
            for codec in split.codecs
        }
        self._places = {point: place for place, point in enumerate(self._coders)}
        for module in (checkpoint.network, *checkpoint.splits.values()):
            fold(module)
        self._parts = parts_of(checkpoint.network, checkpoint.splits.values())
        self._runtime: Runtime = TorchRuntime(self._parts)
        if runtime == "onnx":
            self._runtime = OnnxRuntime(self._parts, self.sha256)

    @property
    def runtime(self) -> str:
        """What computes the parts: its name and release."""
        return self._runtime.version

    @property
    def fingerprint(self) -> str:
        """What payloads and predictions depend on beside the photograph and the option."""
        return f"{self.sha256}, payload {VERSION}, {self.runtime}"

    def by_torch(self) -> SplitModel:
        """The same model computed by torch, which can count what its parts take."""
        other = copy.copy(self)
        other._runtime = TorchRuntime(self._parts)
        return other

    @cached_property
    def profile(self) -> Profile:
        """The profile beside the checkpoint. Raises CheckpointError if there is none."""
        return load_profile(self._path, self.sha256)

    @property
    def options(self) -> tuple[Option, ...]:
        """Local, full (raw, then JPEG) and the checkpoint's operating points, in the profile's order."""
        return (LOCAL, RAW, JPEG, *(Option(Kind.SPLIT, "aecnn", point) for point in self._coders))

    def nominal_ratio(self, option: Option) -> float | None:
        """`(C / k) * (32 / b)` of an operating point, None without one."""
        if option.point is None:
            return None
        channels = stage_channels(option.point.split, self._width)
        return channels / option.point.kept_channels * 32 / option.point.bits

    def head(self, photograph: Photograph, option: Option) -> Any:
        """The device's part: local, the class; full, the photograph as it is; split, features `[1, C, H, W]`."""
        if option.kind is Kind.FULL:
            return photograph
        if option.kind is Kind.LOCAL:
            return self.predict_local(photograph)
        return self._runtime.run(head_of(_point(option).split), _tensor(photograph))

    def encode(self, features: Any, option: Option, image: int) -> bytes:
        """What `head` gave, to the bytes that travel: none for local. A photograph that is a JPEG is sent as it is.

        `image` is the photograph's number, which features carry with them.
        """
        if option.kind is Kind.LOCAL:
            return b""
        if option == RAW:
            return _pixels(features).tobytes()
        if option == JPEG:
            return features if isinstance(features, bytes) else encode_jpeg_pixels(features)
        return self.pack(self.symbols(features, option), option, image)

    def decode(self, payload: bytes, option: Option, image: int) -> Any:
        """The edge's first part: pixels for full, recovered features `[1, C, H, W]` for split.

        Raises:
            PayloadError: the payload is damaged, or is not of this checkpoint, option and photograph.
        """
        if option == RAW:
            if len(payload) != 3 * self.input_px**2:
                raise PayloadError(f"raw payload of {len(payload)} bytes; a photograph has {3 * self.input_px**2}")
            return np.frombuffer(payload, np.uint8).reshape(self.input_px, self.input_px, 3)
        if option == JPEG:
            return self._decoded_jpeg(payload)
        return self.recover(self.unpack(payload, option, image), option)

    def tail(self, features: Any, option: Option) -> int:
        """What `decode` gave (for local, what `head` gave), to the predicted class."""
        if option.kind is Kind.LOCAL:
            return int(features)
        if option.kind is Kind.FULL:
            return self.predict_local(features)
        return int(self._runtime.run(tail_of(_point(option).split), features).argmax())

    def predict_local(self, photograph: Photograph) -> int:
        """The uncompressed network's class."""
        return int(self._runtime.run(WHOLE, _tensor(photograph)).argmax())

    def warm_up(self) -> None:
        """Compute every part once, so that a first job waits neither for an export nor for kernels to be set up."""
        blank = np.zeros((self.input_px, self.input_px, 3), np.uint8)
        for option in self.options:
            features = self.head(blank, option)
            sent = self.encode(features, option, 0)
            self.tail(features if option.kind is Kind.LOCAL else self.decode(sent, option, 0), option)

    def prepare(
        self, photographs: Photographs, indices: Sequence[int], progress: Callable[[float], None]
    ) -> Iterator[Prepared]:
        """Every option's payload and prediction for each photograph, in the order of `indices`, then of `options`.

        `progress` is told the share of photographs done.
        """
        for done, image in enumerate(indices, start=1):
            jpeg = photographs.jpeg(image)
            pixels = decode_jpeg(jpeg)
            heads = {name: self._runtime.run(head_of(name), _tensor(pixels)) for name in self._splits}
            whole = self.predict_local(pixels)
            sent = {LOCAL: b"", RAW: pixels.tobytes(), JPEG: jpeg}
            for option in self.options:
                if option.point is None:
                    yield Prepared(option, image, sent[option], whole)
                else:
                    symbols = self.symbols(heads[option.point.split], option)
                    predicted = self.tail(self.recover(symbols, option), option)
                    yield Prepared(option, image, self.pack(symbols, option, image), predicted)
            progress(done / len(indices))

    def symbols(self, features: Tensor, option: Option) -> Symbols:
        """Attention, pruning and quantiser: `[1, C, H, W]` to `[k, H * W]`."""
        return self._runtime.run(encoder_of(_point(option)), features)[0].flatten(1).numpy()

    def pack(self, symbols: Symbols, option: Option, image: int) -> bytes:
        """A photograph's symbols to the payload."""
        point = _point(option)
        return pack(symbols, self._coders[point], self._identity(point, image))

    def unpack(self, payload: bytes, option: Option, image: int) -> Symbols:
        """The payload to its symbols `[k, H * W]`. Raises PayloadError."""
        point = _point(option)
        side = stage_px(point.split, self.input_px)
        return unpack(payload, self._coders[point], self._identity(point, image), side * side)

    def recover(self, symbols: Symbols, option: Option) -> Tensor:
        """Symbols `[k, H * W]` to features `[1, C, H, W]`."""
        point = _point(option)
        side = stage_px(point.split, self.input_px)
        return self._runtime.run(decoder_of(point), torch.from_numpy(symbols).view(1, -1, side, side))

    def _identity(self, point: OperatingPoint, image: int) -> Identity:
        return Identity(self.sha256, self._places[point], image)

    def _decoded_jpeg(self, payload: bytes) -> NDArray[np.uint8]:
        raw = 3 * self.input_px**2
        if len(payload) > 2 * raw:
            raise PayloadError(f"JPEG of {len(payload)} bytes; one with so many pixels has less than {2 * raw}")
        try:
            return decode_jpeg(payload, self.input_px)
        except PhotographError as error:
            raise PayloadError(str(error)) from None


def load_model(checkpoint: str = "default", runtime: RuntimeName = "onnx") -> SplitModel:
    """A checkpoint ready for inference: "default", or a path. Raises CheckpointError."""
    return SplitModel(load_checkpoint(checkpoint), runtime)


def encode_jpeg_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels to the JPEG that a device would send."""
    from PIL import Image

    return encode_jpeg(Image.fromarray(pixels))


def _pixels(photograph: Photograph) -> NDArray[np.uint8]:
    return decode_jpeg(photograph) if isinstance(photograph, bytes) else photograph


def _tensor(photograph: Photograph) -> Tensor:
    """uint8 `[1, 3, height, width]`."""
    return torch.from_numpy(_pixels(photograph).transpose(2, 0, 1).copy())[None]


def _point(option: Option) -> OperatingPoint:
    if option.point is None:
        raise ValueError(f"{option} has no operating point")
    return option.point
