"""A run's folder: the columns as designed, nothing lost to a kill, and the caller's under sudo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.documents.resolved import LinkParameters
from testbed.jobs.ledger import LedgerRow
from testbed.network.record import LinkRows
from testbed.reporting.columns import JOBS, LINKS, to_batch, to_rows
from testbed.reporting.row_stream import RowStream, read_stream
from testbed.reporting.stored_run import NotARun, StoredRun, open_run
from testbed.reporting.summary import summarise

COLUMNS = [
    "job_id",
    "device",
    "edge",
    "policy",
    "decision",
    "encoding",
    "split",
    "kept_channels",
    "bits",
    "image",
    "arrival_s",
    "dispatch_ms",
    "decide_ms",
    "wait_ms",
    "head_ms",
    "encode_ms",
    "uplink_ms",
    "edge_wait_ms",
    "decode_ms",
    "tail_ms",
    "downlink_ms",
    "completion_ms",
    "deadline_ms",
    "outcome",
    "late_stage",
    "payload_bytes",
    "wire_bytes",
    "label",
    "predicted",
    "correct",
    "attempts",
    "error",
    "decided_by",
    "job_class",
    "clock_error_ms",
]
LINKS_SET = LinkRows()
LINKS_SET.add(0.0, 0.0, ("dev1", "ap1"), 0, LinkParameters(10e6, 0.005, 0.001, 0.005))
LINKS_SET.add(1.0, 1.002, ("dev1", "ap1"), 1, LinkParameters(1e6, loss=0.01, burst=4.0))


def finished(folder: Path, rows, batch: int = 7) -> StoredRun:
    run = StoredRun.create(folder, "poor-channel", "greedy")
    for start in range(0, len(rows), batch):
        run.append(rows[start : start + batch])
    run.append_links(LINKS_SET)
    run.finish({"seed": 1}, {"before": [], "after": []}, summarise("greedy", rows, issued=len(rows), duration_s=3.0))
    return run


def test_the_columns_are_those_of_the_ledger_in_the_order_of_the_design(tmp_path, mixed):
    run = finished(tmp_path, mixed(20, 1))
    assert list(LedgerRow.__struct_fields__) != [] and set(LedgerRow.__struct_fields__) == set(COLUMNS)
    assert pq.read_schema(run.path / "jobs.parquet").names == COLUMNS == JOBS.names
    assert pq.read_schema(run.path / "links.parquet").names == list(LinkRows.__struct_fields__) == LINKS.names


@given(n=st.integers(0, 40), seed=st.integers(0, 1000), batch=st.integers(1, 50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
def test_rows_come_back_as_they_went(tmp_path, mixed, n, seed, batch):
    rows = mixed(n, seed)
    run = open_run(finished(tmp_path, rows, batch).path)
    assert run.rows() == rows
    assert run.summary == summarise("greedy", rows, issued=n, duration_s=3.0)


def test_whole_numbers_stay_whole_beside_nulls_in_pandas(tmp_path, mixed):
    run = finished(tmp_path, mixed(200, 1))
    for frame in (run.jobs(), pd.read_parquet(run.path / "jobs.parquet")):
        assert frame["kept_channels"].isna().any() and frame["predicted"].isna().any()
        assert {str(frame[name].dtype) for name in ("job_id", "kept_channels", "bits", "predicted")} == {"Int64"}
        assert str(frame["correct"].dtype) == "boolean"
        assert frame["completion_ms"].dtype == np.float64
        assert set(frame["outcome"]) == {"on_time", "late", "failed", "dropped"}


def test_jobs_lie_in_the_order_of_their_ids_whatever_order_they_ended_in(tmp_path, mixed):
    rows = mixed(30, 2)
    assert open_run(finished(tmp_path, rows[::-1]).path).rows() == rows


def test_a_finished_run_has_its_five_files_and_nothing_else(tmp_path, mixed):
    run = finished(tmp_path, mixed(5, 1))
    names = {path.name for path in run.path.iterdir()}
    assert names == {"jobs.parquet", "links.parquet", "manifest.json", "certificate.json", "summary.json"}
    assert json.loads((run.path / "manifest.json").read_text()) == run.manifest == {"seed": 1}
    assert json.loads((run.path / "certificate.json").read_text()) == {"before": [], "after": []}
    links = run.links()
    assert links.drop(columns="burst").to_dict("list") == {
        "t_s": [0.0, 1.002],
        "a": ["dev1"] * 2,
        "b": ["ap1"] * 2,
        "direction": ["up", "down"],
        "bandwidth_bps": [10e6, 1e6],
        "delay_ms": [5.0, 0.0],
        "jitter_ms": [1.0, 0.0],
        "loss": [0.005, 0.01],
        "asked_s": [0.0, 1.0],
    }
    assert links["burst"].isna().tolist() == [True, False] and links["burst"].iloc[1] == 4.0


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path):
    paths = [StoredRun.create(tmp_path / "results", "steady", "a.b:C d").path for _ in range(5)]
    assert len(set(paths)) == 5
    assert all("-steady-a.b-C-d" in path.name for path in paths)


def test_a_run_cut_short_keeps_its_rows_and_is_invalid(tmp_path, mixed):
    rows = mixed(30, 3)
    run = StoredRun.create(tmp_path, "poor-channel", "greedy")
    run.write_manifest({"seed": 9})
    run.append(rows)
    run.append_links(LINKS_SET)
    again = open_run(run.path)
    assert not again.finished
    assert again.rows() == rows
    assert again.links()["t_s"].tolist() == [0.0, 1.002]
    assert again.manifest == {"seed": 9}
    assert again.summary.verdict == "INVALID"
    assert again.summary.reasons == ("the run did not come to its end; it kept 30 rows",)


def test_a_run_killed_before_its_first_row_opens_empty(tmp_path):
    run = open_run(StoredRun.create(tmp_path, "poor-channel", "greedy").path)
    assert list(run.jobs().columns) == COLUMNS and len(run.jobs()) == 0
    assert (run.manifest, run.summary.issued, run.summary.verdict) == ({}, 0, "INVALID")


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from tests.reporting.conftest import answer
from testbed.reporting.stored_run import StoredRun

run = StoredRun.create(Path({folder!r}), "poor-channel", "greedy")
print(run.path, flush=True)
written = 0
while True:
    run.append([answer(written + i) for i in range(7)])
    written += 7
    print(written, flush=True)
"""


@pytest.mark.parametrize("after", [1, 40, 200])
def test_sigkill_while_writing_loses_nothing_that_was_appended(tmp_path, after):
    code = textwrap.dedent(WRITER.format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
        path = Path(writer.stdout.readline().strip())
        for _ in range(after):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
    confirmed = int(rest[-1]) if rest else 7 * after
    assert not open_run(path).finished
    assert {file.name for file in path.iterdir()} == {"jobs.parquet", "links.parquet"}
    ids = pd.read_parquet(path / "jobs.parquet")["job_id"].tolist()
    assert confirmed >= 7 * after
    assert ids == list(range(len(ids)))
    assert len(ids) in (confirmed, confirmed + 7)


def test_a_run_that_goes_on_is_read_and_left_as_it_is(tmp_path, mixed):
    run = StoredRun.create(tmp_path, "poor-channel", "greedy")
    run.append(mixed(30, 3)[:10])
    assert len(open_run(run.path).rows()) == 10
    assert {file.name for file in run.path.iterdir()} == {"jobs.arrow", "links.arrow"}
    run.append(mixed(30, 3)[10:])
    assert len(open_run(run.path).rows()) == 30
    run.finish({}, {}, summarise("greedy", mixed(30, 3), issued=30, duration_s=3.0))
    assert len(open_run(run.path).rows()) == 30 and not (run.path / "jobs.arrow").exists()


def test_a_stream_cut_at_any_byte_gives_its_whole_batches(tmp_path, mixed):
    rows, path = mixed(6, 1), tmp_path / "jobs.arrow"
    stream = RowStream(path, JOBS)
    ends = []
    for start in (0, 2, 4):
        stream.append(to_batch(rows[start : start + 2]))
        ends.append(path.stat().st_size)
    whole = path.read_bytes()
    for cut in range(0, len(whole) + 1, 13):
        path.write_bytes(whole[:cut])
        assert to_rows(read_stream(path, JOBS)) == rows[: 2 * sum(end <= cut for end in ends)]


@pytest.mark.root
def test_under_sudo_everything_belongs_to_the_caller(tmp_path, monkeypatch, mixed):
    monkeypatch.setenv("SUDO_UID", "4321")
    monkeypatch.setenv("SUDO_GID", "8765")
    run = finished(tmp_path / "deep" / "results", mixed(5, 1))
    cut_short = StoredRun.create(tmp_path / "deep" / "results", "steady", "local")
    made = [tmp_path / "deep", *(tmp_path / "deep").rglob("*")]
    assert {run.path, cut_short.path / "jobs.arrow"} < set(made)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(4321, 8765)}
    assert tmp_path.stat().st_uid == os.getuid()


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(NotARun, match="no such folder"):
        open_run(tmp_path / "absent")
    with pytest.raises(NotARun, match=r"neither jobs\.parquet nor jobs.arrow"):
        open_run(tmp_path)


@pytest.mark.parametrize("name", ["manifest.json", "summary.json", "jobs.parquet", "links.parquet"])
@pytest.mark.parametrize("content", [b"", b"[3]", b'{"policy": 5}'])
def test_a_run_with_a_damaged_file_is_refused_by_the_name_of_that_file(tmp_path, mixed, name, content):
    run = finished(tmp_path, mixed(5, 1))
    if (name, content) == ("manifest.json", b'{"policy": 5}'):
        content = b'{"policy'
    (run.path / name).write_bytes(content)
    with pytest.raises(NotARun, match=f"{name}: damaged"):
        open_run(run.path)
