"""A file of rows that can be appended to, and read whatever moment its writer was killed at.

Parquet cannot be read without its footer, so rows go into an Arrow IPC stream first: each append is one batch, handed
to the operating system whole before `append` returns. A batch cut short by a kill is left out on reading. The writer
holds a lock on the file until it removes it or dies, so that others know that it lives.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

import pyarrow as pa


class RowStream:
    """The writing end; the file is created, and must not exist."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        path.touch(exist_ok=False)
        self._lock = path.open("rb")  # of Python's own, which no child inherits
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._file = pa.OSFile(str(path), "wb")  # unbuffered
        self._writer = pa.ipc.new_stream(self._file, schema)

    def append(self, batch: pa.RecordBatch) -> None:
        """Writes the batch; empty ones leave nothing."""
        if batch.num_rows:
            self._writer.write_batch(batch)

    def close(self) -> None:
        """Ends the stream."""
        self._writer.close()
        self._file.close()

    def remove(self) -> None:
        """Removes the file, which was closed, and gives the lock up."""
        self.path.unlink()
        self._lock.close()


def abandoned(path: Path) -> bool:
    """Whether the file's writer is gone."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def read_stream(path: Path, schema: pa.Schema) -> pa.Table:
    """Every whole batch of the file, as one table, which lies in the file and not in memory."""
    batches = []
    try:
        with pa.ipc.open_stream(pa.memory_map(str(path))) as reader:
            batches.extend(iter(reader))
    except (pa.ArrowInvalid, OSError):  # cut short: what was read before stands
        pass
    return pa.Table.from_batches(batches, schema=schema)
