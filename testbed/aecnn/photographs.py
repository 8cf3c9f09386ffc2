"""Photographs in Caltech-101's layout, from a folder or a zip, as a device would send them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

INPUT_PX = 128
"""Height and width of what a network sees, unless its training file says otherwise."""

JPEG_QUALITY = 85
"""Quality at which a device encodes its photograph: some 5 KB at 128 px."""

RECOMPRESSED: dict[str, dict[str, Any]] = {"jpeg": {"optimize": True}, "webp": {"method": 6}}
"""Formats in which a photograph can be compressed once more, and how each is told to try its best."""

SAMPLE = Path(__file__).parent / "data" / "sample.zip"

NOT_A_CLASS = "BACKGROUND_Google"  # Caltech-101's clutter category, which is none of its 101 classes


class PhotographError(ValueError):
    """A folder, a zip or a photograph in it cannot be read as Caltech-101's layout."""


class Photographs(Protocol):
    """Labelled photographs at the network's input size: `jpeg` is what a device sends, `pixels` what it decodes to."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; labels index them."""

    def __len__(self) -> int: ...

    def label(self, index: int) -> int:
        """Index into `classes`."""

    def name(self, index: int) -> str:
        """`class/image_NNNN.jpg`."""

    def jpeg(self, index: int) -> bytes:
        """The photograph as a JPEG of the network's input size."""

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """`[px, px, 3]`, RGB, decoded from `jpeg`."""


class _Source(Protocol):
    def names(self) -> Iterator[str]: ...

    def read(self, name: str) -> bytes: ...


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> Iterator[str]:
        return (path.relative_to(self._root).as_posix() for path in self._root.rglob("*.jpg"))

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()


class _Zip:
    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise PhotographError(f"{path}: neither a folder nor a zip: {error}") from None

    def names(self) -> Iterator[str]:
        return (name for name in self._zip.namelist() if name.endswith(".jpg"))

    def read(self, name: str) -> bytes:
        return self._zip.read(name)


class CaltechPhotographs:
    """`.../<class>/image_NNNN.jpg` from a folder or a zip, scaled whole to `px` x `px` unless they already are."""

    def __init__(self, path: Path, classes: Sequence[str] | None = None, px: int = INPUT_PX) -> None:
        if not path.exists():
            raise PhotographError(f"{path}: no such folder or zip")
        self._source: _Source = _Folder(path) if path.is_dir() else _Zip(path)
        found = sorted((parent.name, stored.name, name) for name, stored, parent in _located(self._source.names()))
        if not found:
            raise PhotographError(f"{path}: no <class>/image_NNNN.jpg in it")
        self.classes = tuple(classes) if classes is not None else tuple(sorted({row[0] for row in found}))
        if strangers := sorted({row[0] for row in found} - set(self.classes)):
            raise PhotographError(f"{path}: classes that the model does not know: {', '.join(strangers[:5])}")
        self._found = found
        self._size = (px, px)

    @cached_property
    def _label_of(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self._found)

    def label(self, index: int) -> int:
        """Index into `classes`."""
        return self._label_of[self._found[index][0]]

    def name(self, index: int) -> str:
        """`class/image_NNNN.jpg`."""
        return f"{self._found[index][0]}/{self._found[index][1]}"

    def original(self, index: int) -> Image.Image:
        """The photograph as stored, RGB, in whatever size it has."""
        return _opened(self._source.read(self._found[index][2]), self.name(index)).convert("RGB")

    def jpeg(self, index: int) -> bytes:
        """The photograph as a `px` x `px` JPEG: the stored file itself if it has that size."""
        data = self._source.read(self._found[index][2])
        image = _opened(data, self.name(index))
        if image.size == self._size and image.mode == "RGB":
            return data
        return encode_jpeg(image.convert("RGB").resize(self._size, Image.Resampling.BICUBIC))

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """`[px, px, 3]`, RGB, decoded from `jpeg`."""
        return decode_jpeg(self.jpeg(index))


def open_photographs(path: str | Path, classes: Sequence[str] | None = None, px: int = INPUT_PX) -> Photographs:
    """The shipped photographs for "sample", else a folder or zip in Caltech-101's layout.

    With `classes`, labels index those, whichever of them the folder holds; without, the folder's own sorted names.

    Raises:
        PhotographError: nothing of that layout is there, or it holds a class that `classes` lacks.
    """
    return CaltechPhotographs(SAMPLE if path == "sample" else Path(path), classes, px)


def encode_jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """A JPEG as a device sends it."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def recompressed(pixels: NDArray[np.uint8], encoding: str) -> bytes:
    """A photograph `[height, width, 3]` as `FORMAT-QUALITY`, such as `jpeg-20` or `webp-5`.

    Raises:
        ValueError: there is no such encoding.
    """
    name, _, quality = encoding.partition("-")
    if name not in RECOMPRESSED or not quality.isdecimal() or not 1 <= int(quality) <= 100:
        raise ValueError(f"encoding: '{encoding}' is not FORMAT-QUALITY, such as jpeg-20 or webp-5")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, name.upper(), quality=int(quality), **RECOMPRESSED[name])
    return buffer.getvalue()


def decode_jpeg(data: bytes, px: int | None = None) -> NDArray[np.uint8]:
    """`[height, width, 3]`, RGB. Raises PhotographError for what is no JPEG, or not of `px` x `px` if that is given."""
    return np.asarray(_opened(data, "JPEG", px).convert("RGB"))


def decode_photograph(data: bytes, px: int) -> NDArray[np.uint8]:
    """`[px, px, 3]`, RGB, of a JPEG or WebP. Raises PhotographError."""
    return np.asarray(_opened(data, "photograph", px, ("JPEG", "WEBP")).convert("RGB"))


def _located(names: Iterator[str]) -> Iterator[tuple[str, PurePosixPath, PurePosixPath]]:
    for name in names:
        path = PurePosixPath(name)
        if path.parent.name not in ("", NOT_A_CLASS) and path.name.startswith("image_"):
            yield name, path, path.parent


def _opened(data: bytes, name: str, px: int | None = None, formats: tuple[str, ...] = ("JPEG",)) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
        if px is not None and image.size != (px, px):  # known from the header: nothing large is decoded
            raise ValueError(f"{image.width} x {image.height} pixels, not {px} x {px}")
        image.load()
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise PhotographError(f"{name}: cannot be decoded: {error}") from None
    return image
