"""What a class of one's own has, to be run as a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from testbed.jobs.decision import Option


class ModelError(ValueError):
    """A class that cannot be run as a model. The message names the class, what of it is wrong, and the remedy."""


class OwnModel(Protocol):
    """A network that is cut in two, and what travels between its parts. The class is called without arguments.

    It is asked for the four stages of the split options, and for the head of the local ones; photographs that are
    offloaded whole are encoded and decoded for it, and classified by its head. Several threads ask at once: a stage
    leaves nothing behind for the next but what it returns. The same photograph must give the same bytes and the same
    class every time.

    Three attributes are used if they are there. `input_px`: height and width of the photographs, 128 without it.
    `profile`: a `Profile` with a row for every option; without it, the model is measured. `fingerprint`: text that
    changes whenever payloads or predictions may; without it, it is taken from the source of the user's modules and from
    what the attributes hold.
    """

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, which predictions index: those of the photographs' folders."""
        ...

    @property
    def options(self) -> Sequence[Option]:
        """LOCAL; RAW, JPEG and others of kind full; those of kind split, each with an operating point."""
        ...

    def head(self, pixels: NDArray[np.uint8], option: Option) -> Any:
        """The device's part of the network: for local, the class; for split, the features.

        `pixels` is `[input_px, input_px, 3]`, RGB. What features are is the model's own affair.
        """
        ...

    def encode(self, features: Any, option: Option, image: int) -> bytes:
        """Features to the bytes that travel. `image` is the photograph's number."""
        ...

    def decode(self, payload: bytes, option: Option, image: int) -> Any:
        """What the edge makes of those bytes. Damaged ones may raise whatever they do: the job then fails."""
        ...

    def tail(self, features: Any, option: Option) -> int:
        """The edge's part of the network: what `decode` gave to the class."""
        ...
