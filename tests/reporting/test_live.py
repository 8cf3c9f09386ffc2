"""The live view: what it makes of what runs tell, its metrics, its table and its server."""

from __future__ import annotations

import http.client
import io
import itertools
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from testbed.documents.resolved import LinkParameters
from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.network.record import LinkRows
from testbed.reporting.live import HISTORY_S, EdgeNow, LinkNow, Live, Standing, View
from testbed.reporting.live_metrics import metrics
from testbed.reporting.live_server import LiveServer, serving
from testbed.reporting.live_table import live_table

SAMPLE = re.compile(r'testbed_[a-z0-9_]+\{([a-z]+="(\\\\|\\"|\\n|[^"\\\n])*"(,(?!\})|(?=\})))*\} -?[0-9.e+-]+')


def standing(rows: list[LedgerRow], elapsed_s: float, **more: object) -> Standing:
    ended = Counter(row.outcome for row in rows)
    return msgspec.structs.replace(
        Standing(elapsed_s, 60.0, 100, dict(ended), run="run-1", policy="greedy", rows=rows), **more
    )


def links(*values: tuple[str, str, int, float, float]) -> LinkRows:
    rows = LinkRows()
    for a, b, direction, bandwidth_bps, loss in values:
        rows.add(0.0, 0.0, (a, b), direction, LinkParameters(bandwidth_bps, 0.005, 0.0, loss))
    return rows


@pytest.fixture
def view(mixed) -> View:
    live = Live()
    every = links(("dev1", "ap1", 0, 10e6, 0.005), ("dev1", "ap1", 1, 10e6, 0.0), ("edge1", "ap1", 0, 50e6, 0.0))
    live.tell(standing(mixed(40, 1), 4.0, links=every, backlogs_s={"edge1": 0.0425}))
    return live.view


def test_the_view_is_that_of_the_ledger(view, mixed) -> None:
    rows = mixed(40, 1)
    on_time = [row for row in rows if row.outcome is Outcome.ON_TIME]
    assert view.success == view.success_recent == len(on_time) / 40
    assert sum(view.ended.values()) == 40 and view.issued == 100
    assert sum(jobs for _, jobs, _ in view.history) == 40
    assert sum(good for *_, good in view.history) == len(on_time)
    of_edge = [row for row in rows if row.edge == "edge1"]
    assert view.edges == [EdgeNow("edge1", 0.0425, len(of_edge), sum(row in on_time for row in of_edge))]
    assert view.links[:2] == [LinkNow("dev1", "ap1", 10e6, 5.0, 0.005), LinkNow("ap1", "dev1", 10e6, 5.0, 0.0)]


def test_links_are_as_they_were_set_last(view) -> None:
    live = Live()
    live.tell(standing([], 1.0, links=links(("dev1", "ap1", 0, 10e6, 0.0), ("dev2", "ap1", 0, 10e6, 0.0))))
    live.tell(standing([], 2.0, links=links(("dev1", "ap1", 0, 1e6, 0.0), ("dev1", "ap1", 0, 1e6, 1.0))))
    live.tell(standing([], 3.0, links=links()))
    assert live.view.links == [LinkNow("dev1", "ap1", 1e6, 5.0, 1.0), LinkNow("dev2", "ap1", 10e6, 5.0, 0.0)]


def test_what_is_recent_is_forgotten_and_the_whole_is_not(answering) -> None:
    live = Live()
    late = [answering(number, stage_ms=100.0) for number in range(10)]
    live.tell(standing(late, 1.0))
    ended = {Outcome.LATE: 10, Outcome.ON_TIME: 10}
    live.tell(standing([answering(number) for number in range(10, 20)], 20.0, ended=ended))
    assert live.view.success == 0.5 and live.view.success_recent == 1.0
    assert live.view.completion_p50_ms == pytest.approx(90.0)


def test_a_long_run_is_held_in_bounded_memory(answering) -> None:
    live = Live()
    for second in range(3 * HISTORY_S):
        live.tell(standing([answering(second, arrival_s=float(second))], float(second)))
    assert len(live.view.history) == HISTORY_S and live.view.history[-1][0] == 3 * HISTORY_S - 1


def test_the_next_run_begins_anew_and_the_last_is_remembered(mixed) -> None:
    live = Live()
    live.tell(standing(mixed(40, 1), 4.0, backlogs_s={"edge1": 0.0}))
    live.tell(standing([], 0.0, run="run-2", policy="local", ended={}, backlogs_s={"edge1": 0.0}))
    (earlier,) = live.view.earlier
    assert (earlier.run, earlier.policy, earlier.ended) == ("run-1", "greedy", 40)
    assert live.view.success is None and live.view.history == [] and live.view.edges[0].jobs == 0


def test_metrics_are_what_prometheus_reads(view) -> None:
    named = msgspec.structs.replace(view, policy='a "quoted" \\ name\nof two lines')
    lines = metrics(named).splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    for line in samples:
        assert SAMPLE.fullmatch(line), line
    names = [line.split("{")[0] for line in samples]
    for name, group in itertools.groupby(names):
        assert f"# TYPE {name} gauge" in lines and names.count(name) == len(list(group))  # together, as it must be
    assert 'testbed_link_loss_ratio{start="dev1",end="ap1"} 0.005' in lines
    assert 'testbed_edge_backlog_seconds{edge="edge1"} 0.0425' in lines


@pytest.mark.parametrize("devices, lines", [(1, 40), (500, 40), (500, 12)])
def test_the_table_fits_the_terminal_and_has_the_poorest_link(devices: int, lines: int, answering) -> None:
    live = Live()
    every = [(f"dev{number}", "ap1", side, 10e6, 0.0) for number in range(devices) for side in (0, 1)]
    every.append((f"dev{devices - 1}", "ap1", 0, 10e6, 1.0))
    live.tell(standing([answering(1)], 1.0, links=links(*every), backlogs_s={"[edge]": 0.001}))
    console = Console(file=io.StringIO(), width=100)
    console.print(live_table(live.view, lines))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert len(shown.splitlines()) <= max(lines, 16) and "[edge]" in shown
    assert re.search(rf"dev{devices - 1} > ap1 .* cut", shown)
    assert ("more links" in shown) == (devices == 500)


@pytest.fixture
def server(view) -> Iterator[LiveServer]:
    with serving(0) as started:
        started.publish(view)
        yield started


def get(server: LiveServer, path: str, host: str | None = None, method: str = "GET") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers={"Host": host} if host else {})
    return connection.getresponse()


def test_the_page_the_metrics_and_nothing_else_are_served(server) -> None:
    page = get(server, "/")
    assert page.status == 200 and b"EventSource" in page.read()
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert get(server, "/metrics").read().decode() == metrics(server.view)
    assert get(server, "/../../etc/passwd").status == 404
    assert get(server, "/", method="POST").status == 501


def test_a_foreign_name_is_refused(server) -> None:
    assert get(server, "/metrics", host=f"localhost:{server.server_port}").status == 200
    for host in ("evil.example", f"evil.example:{server.server_port}", "localhost.evil.example"):
        assert get(server, "/metrics", host=host).status == 403


def test_it_listens_on_the_loopback_alone(server) -> None:
    port = f"{server.server_port:04X}"
    listening = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    assert [fields[1] for fields in listening if fields[1].endswith(f":{port}") and fields[3] == "0A"] == [
        f"0100007F:{port}"
    ]


def test_who_watches_gets_each_view_and_the_end(view) -> None:
    with serving(0) as server:
        answer = get(server, "/events")
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert json.loads(_event(answer))["run"] == ""
        server.publish(view)
        assert json.loads(_event(answer))["issued"] == 100
    assert json.loads(_event(answer))["over"] is True
    assert answer.read() == b"\n"


def test_idle_connections_do_not_add_up(server) -> None:
    before = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(60)]
    time.sleep(0.5)
    assert threading.active_count() - before <= 32
    for one in idle:
        one.close()
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        try:
            assert get(server, "/metrics").status == 200
            break
        except (ConnectionError, http.client.HTTPException):  # those before have not been noticed to be gone yet
            time.sleep(0.1)
    else:
        pytest.fail("it did not recover")


def _event(answer: http.client.HTTPResponse) -> bytes:
    while not (line := answer.readline()).startswith(b"data: "):
        assert line, "the stream has ended"
    return line.removeprefix(b"data: ")
