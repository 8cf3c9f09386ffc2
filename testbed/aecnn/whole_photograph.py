"""How a photograph travels whole: its pixels, the JPEG that a device has of it, or compressed once more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from testbed.aecnn.payload import PayloadError
from testbed.aecnn.photographs import PhotographError, decode_jpeg, decode_photograph, encode_jpeg, recompressed
from testbed.jobs.decision import JPEG, RAW, Option

Photograph = NDArray[np.uint8] | bytes
"""A photograph as a device has it: `[height, width, 3]` pixels, or their JPEG."""


def pixels_of(photograph: Photograph) -> NDArray[np.uint8]:
    """`[height, width, 3]`, RGB."""
    return decode_jpeg(photograph) if isinstance(photograph, bytes) else photograph


def encode_whole(photograph: Photograph, option: Option) -> bytes:
    """The bytes that travel. A photograph that is a JPEG is sent as it is.

    Raises:
        ValueError: there is no such encoding.
    """
    if option == RAW:
        return pixels_of(photograph).tobytes()
    if option == JPEG:
        return photograph if isinstance(photograph, bytes) else encode_jpeg(Image.fromarray(photograph))
    return recompressed(pixels_of(photograph), option.encoding)


def decode_whole(payload: bytes, option: Option, px: int) -> NDArray[np.uint8]:
    """`[px, px, 3]`, RGB.

    Raises:
        PayloadError: the payload is no such photograph.
    """
    raw = 3 * px**2
    if option == RAW:
        if len(payload) != raw:
            raise PayloadError(f"raw payload of {len(payload)} bytes; a photograph has {raw}")
        return np.frombuffer(payload, np.uint8).reshape(px, px, 3)
    if len(payload) > 2 * raw:
        raise PayloadError(f"photograph of {len(payload)} bytes; one with so many pixels has less than {2 * raw}")
    try:
        return decode_photograph(payload, px)
    except PhotographError as error:
        raise PayloadError(str(error)) from None
