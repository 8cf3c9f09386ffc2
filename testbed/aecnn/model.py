"""What a run asks of a model, whoever made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from testbed.aecnn.photographs import Photographs
from testbed.aecnn.whole_photograph import Photograph
from testbed.jobs.decision import Kind, Option
from testbed.jobs.profile import Profile


class Prepared(msgspec.Struct, frozen=True):
    """What one option sends for one photograph, and what the network then answers."""

    option: Option
    image: int
    payload: bytes
    predicted: int


class CoInferenceModel(Protocol):
    """A network with options: stages `head` and `encode` on the device, `decode` and `tail` on the edge."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, which predictions index."""
        ...

    @property
    def input_px(self) -> int:
        """Height and width of the photographs that it is given."""
        ...

    @property
    def options(self) -> tuple[Option, ...]:
        """All ways to compute a job, in the profile's order."""
        ...

    @property
    def comparisons(self) -> frozenset[Option]:
        """The options that policies consider only if they are told to."""
        ...

    @property
    def fingerprint(self) -> str:
        """What payloads and predictions depend on beside the photograph and the option."""
        ...

    @property
    def profile(self) -> Profile | None:
        """What each option costs and is worth; None where that is still to be measured."""
        ...

    def nominal_ratio(self, option: Option) -> float | None:
        """Bits of the float32 features over bits of the symbols sent; None where that is not known."""
        ...

    def head(self, photograph: Photograph, option: Option) -> Any:
        """The device's part: local, the class; full, the photograph as it is; split, features."""
        ...

    def encode(self, features: Any, option: Option, image: int) -> bytes:
        """What `head` gave, to the bytes that travel: none for local. `image` is the photograph's number."""
        ...

    def decode(self, payload: bytes, option: Option, image: int) -> Any:
        """The edge's first part: pixels for full, features for split.

        Raises:
            Exception: the payload is damaged, or not this model's.
        """
        ...

    def tail(self, features: Any, option: Option) -> int:
        """What `decode` gave (for local, what `head` gave), to the predicted class."""
        ...

    def warm_up(self, options: Sequence[Option] | None = None) -> None:
        """Compute the parts of the options (None: of all) once, so that a first job does not wait for any."""
        ...

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
        ...


def infer(model: CoInferenceModel, photograph: Photograph, option: Option, image: int) -> Prepared:
    """All stages of one photograph, which is number `image`."""
    features = model.head(photograph, option)
    payload = model.encode(features, option, image)
    received = features if option.kind is Kind.LOCAL else model.decode(payload, option, image)
    return Prepared(option, image, payload, model.tail(received, option))
