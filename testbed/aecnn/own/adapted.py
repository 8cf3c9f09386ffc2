"""Makes of a class of one's own all that a run asks of a model, and says which of its methods does what it may not."""

from __future__ import annotations

import operator
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from testbed.aecnn.model import Prepared, infer
from testbed.aecnn.own.fingerprint import fingerprint_of
from testbed.aecnn.own.protocol import ModelError, OwnModel
from testbed.aecnn.photographs import INPUT_PX, Photographs
from testbed.aecnn.whole_photograph import Photograph, decode_whole, encode_whole, pixels_of
from testbed.jobs.decision import JPEG, LOCAL, Kind, Option
from testbed.jobs.profile import Profile

_TAKES = {
    "head": "it must take any photograph, uint8 [input_px, input_px, 3]",
    "encode": "it must take what head gave",
    "decode": "it must take what encode gave",
    "tail": "it must take what decode gave",
}


class AdaptedModel:
    """A class of one's own, completed: photographs sent whole, and stages strung together.

    Every stage raises ModelError where the class does what it may not, or raises anything.
    """

    comparisons: frozenset[Option] = frozenset()

    def __init__(self, name: str, own: OwnModel) -> None:
        self.name, self._own = name, own
        self.classes, self.options = tuple(own.classes), tuple(own.options)
        self.input_px: int = getattr(own, "input_px", INPUT_PX)
        self.profile: Profile | None = getattr(own, "profile", None)

    @cached_property
    def fingerprint(self) -> str:
        """What payloads and predictions depend on. Raises ModelError where that cannot be seen."""
        return fingerprint_of(self.name, self._own)

    def nominal_ratio(self, option: Option) -> float | None:
        """Not known: what features are is the class's own affair."""
        return None

    def head(self, photograph: Photograph, option: Option) -> Any:
        """The device's part: local, the class; full, the photograph as it is; split, features."""
        if option.kind is Kind.FULL:
            return photograph
        found = self._asked("head", option, pixels_of(photograph), option)
        return self._index(found, "head", option) if option.kind is Kind.LOCAL else found

    def encode(self, features: Any, option: Option, image: int) -> bytes:
        """What `head` gave, to the bytes that travel: none for local."""
        if option.kind is Kind.LOCAL:
            return b""
        if option.kind is Kind.FULL:
            return encode_whole(features, option)
        payload = self._asked("encode", option, features, option, image)
        if not isinstance(payload, bytes):
            raise self._fault("encode", option, f"gave {type(payload).__name__}: return bytes")
        return payload

    def decode(self, payload: bytes, option: Option, image: int) -> Any:
        """Pixels for full, what the class makes of the payload for split. Raises ModelError, PayloadError."""
        if option.kind is Kind.FULL:
            return decode_whole(payload, option, self.input_px)
        return self._asked("decode", option, payload, option, image)

    def tail(self, features: Any, option: Option) -> int:
        """What `decode` gave (for local, what `head` gave), to the predicted class."""
        if option.kind is Kind.LOCAL:
            return int(features)
        if option.kind is Kind.FULL:
            return int(self.head(features, LOCAL))
        return self._index(self._asked("tail", option, features, option), "tail", option)

    def warm_up(self, options: Sequence[Option] | None = None) -> None:
        """Compute the options (None: all) once."""
        for option in self.options if options is None else options:
            infer(self, np.zeros((self.input_px, self.input_px, 3), np.uint8), option, 0)

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
        for done, image in enumerate(indices, start=1):
            jpeg = photographs.jpeg(image)
            pixels = pixels_of(jpeg)
            for option in self.options if options is None else options:
                yield infer(self, jpeg if option == JPEG else pixels, option, image)
            progress(done / len(indices))

    def _asked(self, stage: str, option: Option, *arguments: Any) -> Any:
        try:
            return getattr(self._own, stage)(*arguments)
        except Exception as error:  # a user's method may raise anything
            first = next(iter(str(error).splitlines()), "")
            raised = f"raised {type(error).__name__}: {first} ({_where(error)}): {_TAKES[stage]}"
            raise self._fault(stage, option, raised) from error

    def _index(self, found: object, stage: str, option: Option) -> int:
        try:
            index = operator.index(found)  # type: ignore[arg-type]
        except Exception:  # a tensor of several numbers has reasons of its own
            index = -1
        if not 0 <= index < len(self.classes):
            wanted = f"return the class's index, a whole number from 0 to {len(self.classes) - 1}"
            raise self._fault(stage, option, f"gave {found!r:.60}: {wanted}")
        return index

    def _fault(self, stage: str, option: Option, fault: str) -> ModelError:
        return ModelError(f"{self.name}: {stage} for '{option}' {fault}")


def _where(error: Exception) -> str:
    """The class's own line that an error passed, which is the first below the one here."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = frames[1] if len(frames) > 1 else frames[0]
    return f"{Path(frame.filename).name}:{frame.lineno}"
