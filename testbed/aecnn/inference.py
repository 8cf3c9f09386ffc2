"""Inference with a checkpoint: every option's four stages, for one photograph or prepared for many."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from testbed.aecnn.checkpoint import Checkpoint, load_profile
from testbed.aecnn.codec import PointCodec
from testbed.aecnn.entropy_coder import EntropyCoder, Symbols
from testbed.aecnn.methods import RIVALS
from testbed.aecnn.model import Prepared
from testbed.aecnn.onnx_runtime import OnnxRuntime
from testbed.aecnn.parts import (
    WHOLE,
    Runtime,
    TorchRuntime,
    decoder_of,
    encoder_of,
    exit_of,
    head_of,
    parts_of,
    tail_of,
)
from testbed.aecnn.payload import VERSION, Identity, pack, unpack
from testbed.aecnn.photographs import Photographs, decode_jpeg
from testbed.aecnn.resnet import fold
from testbed.aecnn.whole_photograph import Photograph, decode_whole, encode_whole, pixels_of
from testbed.documents.resolved import RuntimeName
from testbed.jobs.decision import JPEG, LOCAL, RAW, Kind, Option
from testbed.jobs.profile import Profile


class _Point(NamedTuple):
    """An operating point of a method, and what codes it."""

    place: int  # among the checkpoint's
    layout: str
    codec: PointCodec
    coder: EntropyCoder


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
        self._exits = {Option(Kind.LOCAL, exit_of(stage)): exit_of(stage) for stage in checkpoint.exits}
        self._recompressed = tuple(Option(Kind.FULL, encoding) for encoding in checkpoint.description.recompressed)
        self._points = {
            Option(Kind.SPLIT, split.layout.method, codec.point): _Point(
                place, split.layout.name, codec, EntropyCoder(codec.frequencies.numpy())
            )
            for place, (split, codec) in enumerate(
                (split, codec) for split in checkpoint.splits.values() for codec in split.codecs
            )
        }
        for module in (checkpoint.network, *checkpoint.splits.values(), *checkpoint.exits.values()):
            fold(module)
        self._parts = parts_of(checkpoint.network, checkpoint.splits.values(), checkpoint.exits)
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
        """Local, full (raw, then JPEG), the checkpoint's operating points, its early exits, and photographs that are
        compressed once more, in the profile's order.
        """
        return (LOCAL, RAW, JPEG, *self._points, *self._exits, *self._recompressed)

    @property
    def comparisons(self) -> frozenset[Option]:
        """The options that are there for comparison: rivals', early exits, photographs compressed once more."""
        rivals = (option for option in self._points if option.encoding in RIVALS)
        return frozenset((*rivals, *self._exits, *self._recompressed))

    def nominal_ratio(self, option: Option) -> float | None:
        """Bits of the float32 features over bits of the symbols, `(C / k) * (32 / b)`; None where none are sent."""
        return self._points[option].codec.nominal_ratio if option in self._points else None

    def head(self, photograph: Photograph, option: Option) -> Any:
        """The device's part: local, the class; full, the photograph as it is; split, features `[1, C, H, W]`."""
        if option.kind is Kind.FULL:
            return photograph
        if option.kind is Kind.LOCAL:
            return int(self._runtime.run(self._exits.get(option, WHOLE), _tensor(photograph)).argmax())
        return self._runtime.run(head_of(self._points[option].layout), _tensor(photograph))

    def encode(self, features: Any, option: Option, image: int) -> bytes:
        """What `head` gave, to the bytes that travel: none for local. A photograph that is a JPEG is sent as it is.

        `image` is the photograph's number, which features carry with them.
        """
        if option.kind is Kind.LOCAL:
            return b""
        if option.kind is Kind.FULL:
            return encode_whole(features, option)
        return self.pack(self.symbols(features, option), option, image)

    def decode(self, payload: bytes, option: Option, image: int) -> Any:
        """The edge's first part: pixels for full, recovered features `[1, C, H, W]` for split.

        Raises:
            PayloadError: the payload is damaged, or is not of this checkpoint, option and photograph.
        """
        if option.kind is Kind.FULL:
            return decode_whole(payload, option, self.input_px)
        return self.recover(self.unpack(payload, option, image), option)

    def tail(self, features: Any, option: Option) -> int:
        """What `decode` gave (for local, what `head` gave), to the predicted class."""
        if option.kind is Kind.LOCAL:
            return int(features)
        if option.kind is Kind.FULL:
            return self.predict_local(features)
        return int(self._runtime.run(tail_of(self._points[option].layout), features).argmax())

    def predict_local(self, photograph: Photograph) -> int:
        """The uncompressed network's class."""
        return int(self._runtime.run(WHOLE, _tensor(photograph)).argmax())

    def warm_up(self, options: Sequence[Option] | None = None) -> None:
        """Compute the parts of the options (None: of all) once, so that a first job waits neither for an export nor for
        kernels to be set up.
        """
        blank = np.zeros((self.input_px, self.input_px, 3), np.uint8)
        for option in self.options if options is None else options:
            features = self.head(blank, option)
            sent = self.encode(features, option, 0)
            self.tail(features if option.kind is Kind.LOCAL else self.decode(sent, option, 0), option)

    def prepare(
        self,
        photographs: Photographs,
        indices: Sequence[int],
        progress: Callable[[float], None],
        options: Sequence[Option] | None = None,
    ) -> Iterator[Prepared]:
        """Payload and prediction of the options (None: of all) for each photograph, in the order of `indices`, then of
        the options. `progress` is told the share of photographs done.
        """
        options = self.options if options is None else options
        for done, image in enumerate(indices, start=1):
            jpeg = photographs.jpeg(image)
            pixels = decode_jpeg(jpeg)
            heads = {
                layout: self._runtime.run(head_of(layout), _tensor(pixels))
                for layout in {self._points[option].layout for option in options if option in self._points}
            }
            sent = {LOCAL: b"", RAW: pixels.tobytes(), JPEG: jpeg}
            whole = self.predict_local(pixels) if any(option in sent for option in options) else None
            for option in options:
                if option in sent and whole is not None:
                    yield Prepared(option, image, sent[option], whole)
                elif option in self._points:
                    symbols = self.symbols(heads[self._points[option].layout], option)
                    predicted = self.tail(self.recover(self._received(symbols, option, image), option), option)
                    yield Prepared(option, image, self.pack(symbols, option, image), predicted)
                else:
                    features = self.head(pixels, option)
                    payload = self.encode(features, option, image)
                    received = self.decode(payload, option, image) if option.kind is Kind.FULL else features
                    yield Prepared(option, image, payload, self.tail(received, option))
            progress(done / len(indices))

    def symbols(self, features: Tensor, option: Option) -> Symbols:
        """Features `[1, C, H, W]` to symbols `[k, positions]`."""
        point = self._points[option]
        computed = self._runtime.run(encoder_of(point.layout, point.codec.point), features)
        return computed[0].flatten(1).numpy()

    def pack(self, symbols: Symbols, option: Option, image: int) -> bytes:
        """A photograph's symbols to the payload."""
        return pack(symbols, self._points[option].coder, self._identity(option, image))

    def unpack(self, payload: bytes, option: Option, image: int) -> Symbols:
        """The payload to the symbols `[k, positions]` that are received. Raises PayloadError."""
        point = self._points[option]
        symbols = unpack(payload, point.coder, self._identity(option, image), point.codec.side**2)
        return self._received(symbols, option, image)

    def recover(self, symbols: Symbols, option: Option) -> Tensor:
        """Symbols `[k, positions]` to features `[1, C, H, W]`."""
        point = self._points[option]
        side = point.codec.side
        shaped = torch.from_numpy(symbols).view(1, -1, side, side)
        return self._runtime.run(decoder_of(point.layout, point.codec.point), shaped)

    def _received(self, symbols: Symbols, option: Option, image: int) -> Symbols:
        """Symbols after what the air does to those of an analogue method, the same for a photograph every time."""
        point = self._points[option]
        if point.codec.noise == 0:
            return symbols
        noise = np.random.default_rng((point.place, image)).normal(0, point.codec.noise, symbols.shape)
        return np.clip(symbols + np.rint(noise), 0, point.codec.quantiser.greatest).astype(np.int32)

    def _identity(self, option: Option, image: int) -> Identity:
        return Identity(self.sha256, self._points[option].place, image)


def _tensor(photograph: Photograph) -> Tensor:
    """uint8 `[1, 3, height, width]`."""
    return torch.from_numpy(pixels_of(photograph).transpose(2, 0, 1).copy())[None]
