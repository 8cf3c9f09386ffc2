"""The columns of a run's tables: their names, order and types in Arrow, Parquet and pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa

from testbed.jobs.ledger import LedgerRow

_TEXT, _WHOLE, _REAL, _TRUTH = pa.string(), pa.int64(), pa.float64(), pa.bool_()


class AppliedLink(msgspec.Struct, frozen=True):
    """One direction of a link from `t_s` seconds into the run on: the columns of `links.parquet`."""

    t_s: float
    a: str
    b: str
    direction: str  # "up" (from a to b) or "down"
    bandwidth_bps: float
    delay_ms: float
    jitter_ms: float
    loss: float  # 0 to 1


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
    ]
)
"""The columns of `links.parquet`."""

_PANDAS = {_WHOLE: pd.Int64Dtype(), _TRUTH: pd.BooleanDtype(), _TEXT: pd.StringDtype()}


def to_batch(rows: Sequence[LedgerRow] | Sequence[AppliedLink], schema: pa.Schema) -> pa.RecordBatch:
    """The structs as one Arrow batch of the schema, whose columns are their fields."""
    plain: list[dict[str, Any]] = msgspec.to_builtins(list(rows))
    return pa.RecordBatch.from_pylist(plain, schema=schema)


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
