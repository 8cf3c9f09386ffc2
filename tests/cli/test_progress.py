"""What a run shows while it goes on: a table on a terminal, a page where it is told, and else nothing."""

from __future__ import annotations

import io
import socket
import urllib.error
import urllib.request

import pytest
from rich.console import Console

from testbed.cli import progress
from testbed.cli.errors import WrongInputError
from testbed.jobs.ledger import Outcome
from testbed.reporting.live import Standing

STANDING = Standing(1.5, 4.0, 10, {Outcome.ON_TIME: 3}, "run-1", "greedy", backlogs_s={"edge1": 0.02})


def test_a_terminal_gets_a_table_and_is_left_clean(monkeypatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "_console", Console(file=screen, force_terminal=True, width=100, height=30))
    with progress.run_progress() as watch:
        watch(STANDING)
        shown = screen.getvalue()
    assert "run-1: 2 of 4 s" in shown and "3 of 10: 3 on time" in shown and "20.0 ms" in shown
    assert screen.getvalue().count("\x1b[2K") >= len(shown.splitlines())  # each line is wiped


def test_what_is_no_terminal_gets_nothing(capsys) -> None:
    with progress.run_progress() as watch:
        watch(STANDING)
    assert capsys.readouterr() == ("", "")


def test_the_address_is_said_and_serves_until_the_end(capsys) -> None:
    with progress.run_progress(0) as watch:
        address = capsys.readouterr().err.split()[2]
        watch(STANDING)
        with urllib.request.urlopen(f"{address}metrics") as answer:
            assert b'testbed_jobs_ended{run="run-1",policy="greedy",outcome="on_time"} 3\n' in answer.read()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address)


def test_a_port_that_is_taken_is_wrong_input() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(WrongInputError, match=f"--serve {port}: .*; name another port, or 0 for any"):
            progress.run_progress(port).__enter__()
