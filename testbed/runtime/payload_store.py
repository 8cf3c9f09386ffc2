"""The payload store: what the model makes of each photograph under each option, prepared before a run.

Paced nodes take payloads and predictions from it: the bytes and the classes are the real network's, computed once by
the same code that live nodes run, and kept by the checkpoint's hash, so that a run spends no time of its own on them.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from testbed.jobs.decision import Kind, OperatingPoint, Option

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


class Stored(msgspec.Struct, frozen=True):
    """What one photograph becomes under one option."""

    payload: bytes  # empty for local
    checksum: int  # CRC-32 of the payload
    predicted: int  # class


class PayloadStore:
    """The prepared payloads of some photographs, in memory."""

    def __init__(self, entries: dict[tuple[int, Option], Stored]) -> None:
        self._entries = entries

    def __getitem__(self, key: tuple[int, Option]) -> Stored:
        return self._entries[key]

    @classmethod
    def read(cls, folder: Path, images: Collection[int]) -> PayloadStore:
        """Read what the folder holds of these photographs."""
        wanted = pa.array(sorted(images), pa.int32())
        entries = {}
        for part in _parts(folder):
            table = pq.read_table(part, filters=pa.compute.field("image").isin(wanted))
            for row in table.to_pylist():
                entries[row["image"], _option(row)] = Stored(
                    row["payload"], zlib.crc32(row["payload"]), row["predicted"]
                )
        return cls(entries)


def folder_for(checkpoint_sha256: str, images: str) -> Path:
    """Where the payloads of a checkpoint and a set of photographs are kept between runs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(f"{checkpoint_sha256} {_identity(images)}".encode()).hexdigest()[:24]
    return cache / "testbed" / "payloads" / key


def missing(folder: Path, images: Collection[int]) -> list[int]:
    """The photographs that the folder does not hold yet."""
    held: set[int] = set()
    for part in _parts(folder):
        held.update(pq.read_table(part, columns=["image"])["image"].to_pylist())
    return sorted(set(images) - held)


def prepare(
    folder: Path, checkpoint: str, images: str, indices: Sequence[int], progress: Callable[[float], None]
) -> None:
    """Compute the payloads and predictions of these photographs under every option, and add them to the folder.

    All of one call appear at once or not at all. `progress` is told the fraction done, 0 to 1.
    """
    from testbed.aecnn.inference import load_model
    from testbed.aecnn.photographs import open_photographs

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
        for prepared in load_model(checkpoint).prepare(open_photographs(images), indices, progress)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(repr(sorted(indices)).encode()).hexdigest()[:16]
    unfinished = folder / f".{digest}.{os.getpid()}"
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), unfinished, compression="zstd")
    unfinished.rename(folder / f"{digest}.parquet")


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
