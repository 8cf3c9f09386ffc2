"""The payload store: what the model makes of each photograph under each option, prepared before a run.

Paced nodes take payloads and predictions from it: the bytes and the classes are the real network's, computed once by
the same code that live nodes run, and kept by what they depend on (checkpoint, runtime, payload format), so that a run
spends no time of its own on them.
"""

from __future__ import annotations

import ctypes
import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from testbed.documents.resolved import RuntimeName
from testbed.jobs.decision import Kind, OperatingPoint, Option
from testbed.runtime.user_modules import make_importable, search_path

if TYPE_CHECKING:
    from testbed.aecnn.model import CoInferenceModel
    from testbed.aecnn.photographs import Photographs

_SCHEMA = pa.schema(
    [
        ("image", pa.int32()),
        ("kind", pa.string()),
        ("encoding", pa.string()),
        ("split", pa.string()),
        ("kept_channels", pa.int32()),
        ("bits", pa.int32()),
        ("payload", pa.binary()),
        ("predicted", pa.int32()),
    ]
)

_KEYS = ("image", "kind", "encoding", "split", "kept_channels", "bits")

_PART = 16
"""Photographs in a part: a file of the store, and the step of its progress."""

_PR_SET_PDEATHSIG = 1

_model: CoInferenceModel
_photographs: Photographs


class Stored(msgspec.Struct, frozen=True):
    """What one photograph becomes under one option."""

    payload: bytes  # empty for local
    predicted: int  # class


class PayloadStore(Mapping[tuple[int, Option], Stored]):
    """The prepared payloads of some photographs, as they lie on disk: a machine's processes share the memory."""

    def __init__(self, folder: Path, images: Collection[int]) -> None:
        """What the folder holds of these photographs."""
        self._rows: dict[tuple[int, Option], tuple[pa.Array, pa.Array, int]] = {}
        for part in _batches(folder):
            keys = [part.column(name).to_pylist() for name in _KEYS]
            payloads, predicted = part.column("payload"), part.column("predicted")
            for number, (image, *key) in enumerate(zip(*keys, strict=True)):
                if image in images:
                    self._rows[image, _option(*key)] = payloads, predicted, number

    def __getitem__(self, key: tuple[int, Option]) -> Stored:
        payloads, predicted, number = self._rows[key]
        return Stored(payloads[number].as_py(), predicted[number].as_py())

    def __iter__(self) -> Iterator[tuple[int, Option]]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def folder_for(fingerprint: str, images: str, options: Sequence[Option] = ()) -> Path:
    """Where payloads are kept between runs: of a model, known by its fingerprint, a set of photographs, and these
    options."""
    told = (fingerprint, _identity(images), *map(str, options))
    key = hashlib.sha256(" ".join(told).encode()).hexdigest()[:24]
    return _stores() / key


def missing(folder: Path, images: Collection[int]) -> list[int]:
    """The photographs that the folder does not hold yet."""
    held = {image for part in _batches(folder) for image in part.column("image").to_pylist()}
    return sorted(set(images) - held)


def prepare(
    folder: Path,
    checkpoint: str,
    runtime: RuntimeName,
    images: str,
    indices: Sequence[int],
    progress: Callable[[float], None],
    options: Sequence[Option] | None = None,
) -> None:
    """Compute the payloads and predictions of these photographs under the options (None: all), and add them to the
    folder.

    As many processes as there are cores share the work, a part of some photographs at a time; a part that is done is
    kept, whatever becomes of the rest. `progress` is told the fraction done, 0 to 1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [list(indices[first : first + _PART]) for first in range(0, len(indices), _PART)]
    workers = min(len(parts), len(os.sched_getaffinity(0)))
    spawn = multiprocessing.get_context("spawn")  # a forked torch may wait for its parent's threads for ever
    with ProcessPoolExecutor(workers, spawn, _load, (checkpoint, runtime, images)) as pool:
        try:
            for done, _ in enumerate(pool.map(partial(_prepare_part, folder, options), parts), 1):
                progress(done / len(parts))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def keep(key: str, parts: Mapping[str, bytes]) -> tuple[str, list[str]]:
    """Add parts that another machine prepared to the folder of a key here.

    Returns:
        The folder, and the names of the parts that it now has.
    """
    folder = _stores() / key
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in parts.items():
        unfinished = folder / f".{name}.{os.getpid()}"
        unfinished.write_bytes(content)
        unfinished.rename(folder / name)
    return str(folder), [part.name for part in _parts(folder)]


def parts_lacking(folder: Path, held: Collection[str]) -> Iterator[dict[str, bytes]]:
    """The parts of a folder that another machine does not hold, one at a time, to be kept there."""
    for part in _parts(folder):
        if part.name not in held:
            yield {part.name: part.read_bytes()}


def _load(checkpoint: str, runtime: RuntimeName, images: str) -> None:
    """In each worker: what it computes with, on one thread, as there is a worker for each core.

    An interruption is the parent's to handle, and a worker ends with its parent, even one that was killed.
    """
    global _model, _photographs
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    import torch

    from testbed.aecnn.loading import load_model
    from testbed.aecnn.photographs import open_photographs

    torch.set_num_threads(1)
    make_importable(search_path())
    _model = load_model(checkpoint, runtime)
    _photographs = open_photographs(images, _model.classes, _model.input_px)


def _prepare_part(folder: Path, options: Sequence[Option] | None, indices: list[int]) -> None:
    rows = [
        {
            "image": prepared.image,
            "kind": prepared.option.kind.value,
            "encoding": prepared.option.encoding,
            "split": prepared.option.point.split if prepared.option.point else None,
            "kept_channels": prepared.option.point.kept_channels if prepared.option.point else None,
            "bits": prepared.option.point.bits if prepared.option.point else None,
            "payload": prepared.payload,
            "predicted": prepared.predicted,
        }
        for prepared in _model.prepare(_photographs, indices, lambda _: None, options)
    ]
    write_part(folder, hashlib.sha256(repr(indices).encode()).hexdigest()[:16], rows)


def write_part(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Add a part to the folder, whole or not at all: its rows, with a value for each column."""
    unfinished = folder / f".{name}.{os.getpid()}"
    with pa.ipc.new_file(unfinished, _SCHEMA) as file:
        file.write_batch(pa.RecordBatch.from_pylist(rows, _SCHEMA))
    unfinished.rename(folder / f"{name}.arrow")


def _stores() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "testbed" / "payloads"


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.arrow"))


def _batches(folder: Path) -> Iterator[pa.RecordBatch]:
    for part in _parts(folder):
        with pa.memory_map(str(part)) as source, pa.ipc.open_file(source) as file:
            for number in range(file.num_record_batches):
                yield file.get_batch(number)


@cache
def _option(kind: str, encoding: str, split: str | None, kept_channels: int, bits: int) -> Option:
    return Option(Kind(kind), encoding, OperatingPoint(split, kept_channels, bits) if split else None)


def _identity(images: str) -> str:
    if images == "sample":
        return images
    path = Path(images).resolve()
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"
