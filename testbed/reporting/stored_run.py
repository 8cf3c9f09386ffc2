"""A run's folder, `results/TIME-WORKLOAD-POLICY/`: written while the run goes on, read ever after."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from testbed.jobs.ledger import LedgerRow
from testbed.jobs.slot import SlotRow
from testbed.network.record import LinkRows
from testbed.reporting.columns import (
    JOBS,
    LINKS,
    SLOTS,
    described,
    links_to_batch,
    slots_to_batch,
    to_batch,
    to_frame,
    to_rows,
)
from testbed.reporting.ownership import give_to_caller, make_folders
from testbed.reporting.row_stream import RowStream, abandoned, read_stream
from testbed.reporting.summary import Summary, summarise
from testbed.reporting.verdict import Evidence

_TABLES = {"jobs": JOBS, "links": LINKS, "slots": SLOTS}


class NotARun(ValueError):  # noqa: N818  said of a path
    """The path holds no run."""


class StoredRun:
    """One run's folder.

    While the run goes on, rows lie in `jobs.arrow` and `links.arrow`, and are safe from the moment `append` returns.
    `finish` turns them into `jobs.parquet` (in the order of job ids) and `links.parquet`, and writes `summary.json`
    last: a folder without it is a run that was cut short, whose rows are read all the same, and turned into Parquet by
    who first opens it. There are slots only where the policy decided slots.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._streams: dict[str, RowStream] = {}

    @classmethod
    def create(cls, results_dir: Path, workload_name: str, policy_name: str) -> StoredRun:
        """A new folder below `results_dir`, named for the time (UTC) and numbered where that name is taken."""
        make_folders(results_dir)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        name = "-".join((stamp, _in_a_name(workload_name), _in_a_name(policy_name)))
        for suffix in itertools.chain([""], (f"-{n}" for n in itertools.count(2))):
            path = results_dir / f"{name}{suffix}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            break
        give_to_caller(path)
        run = cls(path)
        for table in ("jobs", "links"):
            run._open(table)
        return run

    def _open(self, table: str) -> None:
        self._streams[table] = RowStream(self.path / f"{table}.arrow", _TABLES[table])
        give_to_caller(self.path / f"{table}.arrow")

    def append(self, rows: Sequence[LedgerRow]) -> None:
        """Adds jobs that ended; each call writes some 3 KB beside the rows, so gather a second's rows or so."""
        self._streams["jobs"].append(to_batch(rows))

    def append_links(self, links: LinkRows) -> None:
        """Adds links as they were set, from their `t_s` on."""
        self._streams["links"].append(links_to_batch(links))

    def append_slots(self, slots: Sequence[SlotRow]) -> None:
        """Adds slots that were decided, or could not be."""
        if slots and "slots" not in self._streams:
            self._open("slots")
        if slots:
            self._streams["slots"].append(slots_to_batch(slots))

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Writes `manifest.json`: at the start, so that a killed run says what it was, and again by `finish`."""
        self._write_json("manifest.json", manifest)

    def finish(self, manifest: dict[str, Any], certificate: object, summary: Summary) -> None:
        """Ends the run. `certificate` is what `certificate.json` holds: any structs that msgspec encodes."""
        for stream in self._streams.values():
            stream.close()
        for name in self._streams:
            self._write_parquet(name, _TABLES[name])
        self.write_manifest(manifest)
        self._write_json("certificate.json", certificate)
        self._write_json("summary.json", summary)
        for stream in self._streams.values():
            stream.remove()
        self._streams.clear()

    def salvage(self) -> None:
        """Turn the rows that a killed run kept into Parquet, as far as its folder may be written to."""
        for name, schema in _TABLES.items():
            stream = self.path / f"{name}.arrow"
            with contextlib.suppress(OSError):
                if abandoned(stream):
                    self._write_parquet(name, schema)
                    stream.unlink()

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / "summary.json").exists()

    def jobs(self) -> pd.DataFrame:
        """The ledger by job id, with the columns of `jobs.parquet`; of a run cut short, the rows that it kept."""
        return to_frame(self._table("jobs"))

    def links(self) -> pd.DataFrame:
        """The channel as applied, with the columns of `links.parquet`."""
        return to_frame(self._table("links"))

    def slots(self) -> pd.DataFrame | None:
        """The slots, with the columns of `slots.parquet`; None where the policy decided job by job."""
        kept = any((self.path / name).exists() for name in ("slots.parquet", "slots.arrow"))
        return to_frame(self._table("slots")) if kept else None

    def rows(self) -> list[LedgerRow]:
        """The ledger by job id, as structs."""
        return to_rows(self._table("jobs"))

    @property
    def manifest(self) -> dict[str, Any]:
        """`manifest.json`; empty where the run was killed before it was written."""
        path = self.path / "manifest.json"
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) if path.exists() else {}

    @property
    def summary(self) -> Summary:
        """`summary.json`; of a run cut short, the summary of the rows that it kept, which is INVALID."""
        if self.finished:
            return msgspec.json.decode((self.path / "summary.json").read_bytes(), type=Summary)
        rows = self.rows()
        return summarise(
            rows[0].policy if rows else self.path.name,
            rows,
            issued=len(rows),
            duration_s=max((row.arrival_s for row in rows), default=0.0),
            evidence=Evidence(losses=(f"the run did not come to its end; it kept {len(rows)} rows",)),
        )

    def _table(self, name: str) -> pa.Table:
        parquet = self.path / f"{name}.parquet"
        if parquet.exists():
            return pq.read_table(parquet)
        return _in_order(name, read_stream(self.path / f"{name}.arrow", _TABLES[name]))

    def _write_parquet(self, name: str, schema: pa.Schema) -> None:
        table = _in_order(name, read_stream(self.path / f"{name}.arrow", schema))
        unfinished = self.path / f".{name}.parquet"
        pq.write_table(described(table), unfinished)
        give_to_caller(unfinished)
        unfinished.replace(self.path / f"{name}.parquet")

    def _write_json(self, name: str, value: object) -> None:
        path = self.path / name
        unfinished = self.path / f".{name}"
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
        give_to_caller(unfinished)
        unfinished.replace(path)


def open_run(path: Path) -> StoredRun:
    """The run in a folder, finished or cut short.

    Raises:
        NotARun: the path is no folder, or holds neither `jobs.parquet` nor `jobs.arrow`, or a file that is damaged.
    """
    if not path.is_dir():
        raise NotARun(f"{path}: not a run: " + ("a run is a folder" if path.exists() else "no such folder"))
    if not any((path / name).exists() for name in ("jobs.parquet", "jobs.arrow")):
        raise NotARun(f"{path}: not a run: it holds neither jobs.parquet nor jobs.arrow")
    run = StoredRun(path)
    reads: dict[str, Callable[[], object]] = {
        "manifest.json": lambda: run.manifest,
        "summary.json": lambda: run.finished and run.summary,
        **{f"{table}.parquet": partial(_footer, path / f"{table}.parquet") for table in _TABLES},
    }
    for name, read in reads.items():
        try:
            read()
        except (msgspec.DecodeError, pa.ArrowException) as error:
            raise NotARun(f"{path / name}: damaged, or of another version of the testbed: {error}") from error
    run.salvage()
    return run


def _footer(path: Path) -> None:
    if path.exists():
        pq.read_metadata(path)


def _in_order(name: str, table: pa.Table) -> pa.Table:
    return table.sort_by("job_id") if name == "jobs" else table


def _in_a_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or "run"
