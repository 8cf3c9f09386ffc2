"""The live page as a browser shows it, while a run goes on."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from testbed.documents.resolved import LinkParameters
from testbed.jobs.ledger import Outcome
from testbed.network.record import LinkRows
from testbed.reporting.live import Live, Standing
from testbed.reporting.live_server import serving
from tests.reporting.browser import Tab, found

pytestmark = pytest.mark.skipif(found() is None, reason="Chromium is not installed (Debian: chromium)")


def cells(tab: Tab, table: str) -> list[list[str]]:
    words = "[...row.cells].map((cell) => cell.textContent)"
    rows: list[list[str]] = tab.value(f"[...document.querySelector('#{table}').tBodies[0].rows].map((row) => {words})")
    return rows


def until(tab: Tab, condition: str) -> None:
    deadline_s = time.monotonic() + 20
    while not tab.value(condition):
        assert time.monotonic() < deadline_s, condition
        time.sleep(0.05)


def test_the_page_follows_the_run_to_its_end(browser, mixed) -> None:
    live, rows, hostile = Live(), mixed(100, 1), "<b id=taken>edge</b>"
    with serving(0) as server:
        tab = browser.open(server.address)
        until(tab, 'document.getElementById("state").textContent === "waiting"')

        links = LinkRows()
        for device in ("dev1", "dev2"):
            for direction in (0, 1):
                links.add(0.0, 0.0, (device, "ap1"), direction, LinkParameters(10e6, 0.005, 0.0, 0.005))
        told: list = []
        for batch, poor in ((rows[:50], links), (rows[50:], LinkRows())):
            if told:
                poor.add(0.0, 0.0, ("dev2", "ap1"), 0, LinkParameters(250e3, 0.005, 0.0, 1.0))
            told += batch
            ended = Counter(row.outcome for row in told)
            live.tell(
                Standing(
                    len(told) / 10,
                    10.0,
                    100,
                    dict(ended),
                    "run-1",
                    "greedy",
                    batch,
                    poor,
                    {"edge1": 0.0425, hostile: 1},
                )
            )
            server.publish(live.view)
            until(tab, f'document.getElementById("figures").textContent.includes("{len(told)} of 100")')

        on_time = sum(row.outcome is Outcome.ON_TIME for row in rows)
        assert f"{on_time:.1f} %" in tab.value('document.getElementById("figures").textContent')
        assert cells(tab, "edges")[0][:2] == ["edge1", "42.5 ms"]
        assert cells(tab, "edges")[1][:2] == [hostile, "1000 ms"]
        assert tab.value('document.getElementById("taken")') is None
        assert cells(tab, "links")[0] == ["dev1", "ap1", "10 Mbit/s", "5.0 ms", "0.5 %"]
        assert cells(tab, "links")[2] == ["dev2", "ap1", "250 kbit/s", "5.0 ms", "cut"]
        box = tab.value('(({width, height}) => [width, height])(document.querySelector("#history .mark").getBBox())')
        assert box[0] > 500 and box[1] > 1
    until(tab, 'document.getElementById("state").textContent.endsWith("over")')
    time.sleep(0.5)  # it would ask again by now, and complain
    assert tab.complaints() == []
    assert tab.requests() == [server.address, f"{server.address}events"]
