"""The columns of a run's tables: their names, order and types in Arrow, Parquet and pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa

from testbed.jobs.ledger import LedgerRow
from testbed.jobs.slot import SlotRow
from testbed.network.record import LinkRows

_TEXT, _WHOLE, _REAL, _TRUTH = pa.string(), pa.int64(), pa.float64(), pa.bool_()


JOBS = pa.schema(
    [
        ("job_id", _WHOLE),
        ("device", _TEXT),
        ("edge", _TEXT),
        ("policy", _TEXT),
        ("decision", _TEXT),
        ("encoding", _TEXT),
        ("split", _TEXT),
        ("kept_channels", _WHOLE),
        ("bits", _WHOLE),
        ("image", _WHOLE),
        ("arrival_s", _REAL),
        ("dispatch_ms", _REAL),
        ("decide_ms", _REAL),
        ("wait_ms", _REAL),
        ("head_ms", _REAL),
        ("encode_ms", _REAL),
        ("uplink_ms", _REAL),
        ("edge_wait_ms", _REAL),
        ("decode_ms", _REAL),
        ("tail_ms", _REAL),
        ("downlink_ms", _REAL),
        ("completion_ms", _REAL),
        ("deadline_ms", _REAL),
        ("outcome", _TEXT),
        ("late_stage", _TEXT),
        ("payload_bytes", _WHOLE),
        ("wire_bytes", _WHOLE),
        ("label", _WHOLE),
        ("predicted", _WHOLE),
        ("correct", _TRUTH),
        ("attempts", _WHOLE),
        ("error", _TEXT),
        ("decided_by", _TEXT),
        ("job_class", _TEXT),
        ("clock_error_ms", _REAL),
    ]
)
"""The columns of `jobs.parquet`. Null is what did not happen."""

LINKS = pa.schema(
    [
        ("t_s", _REAL),
        ("a", _TEXT),
        ("b", _TEXT),
        ("direction", _TEXT),
        ("bandwidth_bps", _REAL),
        ("delay_ms", _REAL),
        ("jitter_ms", _REAL),
        ("loss", _REAL),
        ("burst", _REAL),
        ("asked_s", _REAL),
    ]
)
"""The columns of `links.parquet`. A null burst: each packet is lost on its own."""

SLOTS = pa.schema(
    [
        ("slot", _WHOLE),
        ("begins_s", _REAL),
        ("observe_ms", _REAL),
        ("decide_ms", _REAL),
        ("late_ms", _REAL),
        ("error", _TEXT),
    ]
)
"""The columns of `slots.parquet`. A null `late_ms`: the slot was not decided, and `error` says why."""

_PANDAS = {_WHOLE: pd.Int64Dtype(), _TRUTH: pd.BooleanDtype(), _TEXT: pd.StringDtype()}


def to_batch(rows: Sequence[LedgerRow]) -> pa.RecordBatch:
    """Jobs as one Arrow batch."""
    plain: list[dict[str, Any]] = msgspec.to_builtins(list(rows))
    return pa.RecordBatch.from_pylist(plain, schema=JOBS)


def links_to_batch(rows: LinkRows) -> pa.RecordBatch:
    """Links as one Arrow batch."""
    return pa.RecordBatch.from_pydict(msgspec.structs.asdict(rows), schema=LINKS)


def slots_to_batch(rows: Sequence[SlotRow]) -> pa.RecordBatch:
    """Slots as one Arrow batch."""
    plain: list[dict[str, Any]] = msgspec.to_builtins(list(rows))
    return pa.RecordBatch.from_pylist(plain, schema=SLOTS)


def to_rows(table: pa.Table) -> list[LedgerRow]:
    """The ledger rows of a table of jobs."""
    return msgspec.convert(table.to_pylist(), list[LedgerRow])


def to_frame(table: pa.Table) -> pd.DataFrame:
    """The table in pandas, where whole numbers and truth values stay what they are beside nulls."""
    return table.to_pandas(types_mapper=_PANDAS.get)


def described(table: pa.Table) -> pa.Table:
    """The same table, carrying what makes `pandas.read_parquet` give the frame of `to_frame`."""
    return table.replace_schema_metadata(
        pa.Schema.from_pandas(to_frame(table.slice(0, 0)), preserve_index=False).metadata
    )
