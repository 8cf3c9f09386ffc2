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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

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


_PART = 16
"""Photographs in a part: a file of the store, and the step of its progress."""

_PR_SET_PDEATHSIG = 1

_model: CoInferenceModel
_photographs: Photographs


class Stored(msgspec.Struct, frozen=True):
    """What one photograph becomes under one option."""

    payload: bytes  # empty for local
    predicted: int  # class


class PayloadStore:
    """The prepared payloads of some photographs, in memory."""

    def __init__(self, entries: dict[tuple[int, Option], Stored]) -> None:
        self._entries = entries

    def __getitem__(self, key: tuple[int, Option]) -> Stored:
        return self._entries[key]

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    @classmethod
    def read(cls, folder: Path, images: Collection[int]) -> PayloadStore:
        """Read what the folder holds of these photographs."""
        wanted = pa.array(sorted(images), pa.int32())
        entries = {}
        for part in _parts(folder):
            table = pq.read_table(part, filters=pa.compute.field("image").isin(wanted))
            for row in table.to_pylist():
                entries[row["image"], _option(row)] = Stored(row["payload"], row["predicted"])
        return cls(entries)


def folder_for(fingerprint: str, images: str) -> Path:
    """Where the payloads of a model, known by its fingerprint, and a set of photographs are kept between runs."""
    key = hashlib.sha256(f"{fingerprint} {_identity(images)}".encode()).hexdigest()[:24]
    return _stores() / key


def missing(folder: Path, images: Collection[int]) -> list[int]:
    """The photographs that the folder does not hold yet."""
    held: set[int] = set()
    for part in _parts(folder):
        held.update(pq.read_table(part, columns=["image"])["image"].to_pylist())
    return sorted(set(images) - held)


def prepare(
    folder: Path,
    checkpoint: str,
    runtime: RuntimeName,
    images: str,
    indices: Sequence[int],
    progress: Callable[[float], None],
) -> None:
    """Compute the payloads and predictions of these photographs under every option, and add them to the folder.

    As many processes as there are cores share the work, a part of some photographs at a time; a part that is done is
    kept, whatever becomes of the rest. `progress` is told the fraction done, 0 to 1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [list(indices[first : first + _PART]) for first in range(0, len(indices), _PART)]
    workers = min(len(parts), len(os.sched_getaffinity(0)))
    spawn = multiprocessing.get_context("spawn")  # a forked torch may wait for its parent's threads for ever
    with ProcessPoolExecutor(workers, spawn, _load, (checkpoint, runtime, images)) as pool:
        try:
            for done, _ in enumerate(pool.map(_prepare_part, [folder] * len(parts), parts), 1):
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


def _prepare_part(folder: Path, indices: list[int]) -> None:
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
        for prepared in _model.prepare(_photographs, indices, lambda _: None)
    ]
    digest = hashlib.sha256(repr(indices).encode()).hexdigest()[:16]
    unfinished = folder / f".{digest}.{os.getpid()}"
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), unfinished, compression="zstd")
    unfinished.rename(folder / f"{digest}.parquet")


def _stores() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "testbed" / "payloads"


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def _option(row: dict[str, Any]) -> Option:
    point = OperatingPoint(row["split"], row["kept_channels"], row["bits"]) if row["split"] else None
    return Option(Kind(row["kind"]), row["encoding"], point)


def _identity(images: str) -> str:
    if images == "sample":
        return images
    path = Path(images).resolve()
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"
