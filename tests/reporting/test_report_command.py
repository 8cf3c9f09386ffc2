"""`testbed report` as its user meets it: stdout, stderr and exit status."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from testbed.cli.report import report
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.summary import summarise


@pytest.fixture
def called():
    app = typer.Typer()
    app.command()(report)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def stored(tmp_path, mixed):
    def make(policy: str, issued: int = 40):
        rows = mixed(40, 1)
        run = StoredRun.create(tmp_path, "poor-channel", policy)
        run.append(rows)
        run.finish({}, {}, summarise(policy, rows, issued=issued, duration_s=4.0))
        return run.path

    return make


def test_several_runs_are_compared(called, stored, tmp_path):
    result = called(stored("local"), stored("greedy"))
    assert result.exit_code == 0
    assert "local" in result.stdout and "greedy" in result.stdout and "p50 / p95 / p99 ms" in result.stdout
    assert result.stdout.splitlines()[-1] == f"page: {tmp_path / 'comparison.html'}"
    assert (tmp_path / "comparison.html").read_text().count("VALID") >= 2


def test_a_run_has_its_page_in_its_folder_or_where_it_is_told(called, stored, tmp_path):
    path = stored("local")
    assert called(path).stdout.splitlines()[-1] == f"page: {path / 'report.html'}"
    assert called(path, "--output", tmp_path / "elsewhere.html").exit_code == 0
    assert (tmp_path / "elsewhere.html").read_text() == (path / "report.html").read_text()


def test_a_page_that_cannot_be_written_does_not_hide_the_table(called, stored, tmp_path):
    result = called(stored("local"), "--output", tmp_path / "absent" / "page.html")
    assert result.exit_code == 1
    assert "jobs issued" in result.stdout and "the page was not written" in result.stderr


def test_json_is_one_value_on_stdout(called, stored):
    path = stored("local")
    result = called(path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {str(path): json.loads((path / "summary.json").read_text())}


def test_an_invalid_run_exits_1_and_says_why(called, stored):
    result = called(stored("local", issued=41))
    assert result.exit_code == 1
    assert "41 jobs issued" in result.stdout


def test_what_is_no_run_exits_2_on_stderr(called, tmp_path):
    result = called(tmp_path / "absent")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == f"{tmp_path / 'absent'}: not a run: no such folder\n"


def test_a_killed_run_is_reported_by_what_it_kept(called, tmp_path, mixed):
    run = StoredRun.create(tmp_path, "poor-channel", "greedy")
    run.append(mixed(40, 1))
    path = run.path
    del run  # as when its process is killed: nothing more is written, and the lock on its rows is gone
    result = called(path)
    assert result.exit_code == 1
    assert "the run did not come to its end; it kept 40 rows" in result.stdout
    assert (path / "jobs.parquet").exists() and not (path / "jobs.arrow").exists()
