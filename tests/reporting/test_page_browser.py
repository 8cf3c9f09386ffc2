"""The report page as a browser shows it."""

from __future__ import annotations

import msgspec
import pytest

from tests.reporting.browser import found
from tests.reporting.page_runs import store

pytestmark = pytest.mark.skipif(found() is None, reason="Chromium is not installed (Debian: chromium)")

FIGURES = """[...document.querySelectorAll("figure svg")].map((svg) => {
  const frame = svg.getBoundingClientRect();
  const marks = [...svg.querySelectorAll(".mark")].map((mark) => mark.getBoundingClientRect());
  const inside = (box) => box.left >= frame.left - 1 && box.right <= frame.right + 1
    && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
  return {
    title: svg.querySelector("title").textContent,
    wide: frame.width > 500 && frame.height > 60,
    marks: marks.filter((box) => box.width + box.height > 0).length,
    inside: marks.every(inside)
      && [...svg.querySelectorAll("text")].every((text) => inside(text.getBoundingClientRect())),
    coloured: [...svg.querySelectorAll(".mark")].every((mark) => {
      const style = getComputedStyle(mark);
      return style.fill !== "rgb(0, 0, 0)" || style.stroke !== "none";
    }),
  };
})"""
COLUMN = (
    "(table, column) => [...document.querySelector(table).tBodies[0].rows].map((row) => row.cells[column].textContent)"
)


@pytest.fixture
def opened(browser, tmp_path):
    def open_page(runs, name="page.html"):
        from testbed.reporting.page import write_page

        write_page(runs, tmp_path / name)
        return browser.open((tmp_path / name).as_uri())

    return open_page


def test_every_figure_of_a_run_is_drawn_and_nothing_is_fetched(opened, tmp_path, mixed) -> None:
    tab = opened([store(tmp_path, mixed(200, 1), missed="dev3")])
    figures = tab.value(FIGURES)
    assert [figure["title"] for figure in figures] == [
        "Topology star",
        "Success over time, beside the channel",
        "Where the time of late jobs and of those on time went",
        "How long jobs took",
        "Accuracy against bytes",
    ]
    for figure in figures:
        assert figure["wide"] and figure["marks"] > 1 and figure["inside"] and figure["coloured"], figure
    assert tab.complaints() == []
    assert len(tab.requests()) == 1
    assert tab.value("document.documentElement.scrollWidth <= innerWidth")


def test_every_figure_of_a_comparison_is_drawn(opened, tmp_path, mixed) -> None:
    runs = [store(tmp_path, mixed(150, seed), policy) for seed, policy in enumerate(("local", "full", "greedy"))]
    tab = opened(runs)
    figures = tab.value(FIGURES)
    assert len(figures) == 6 and figures[0]["title"] == "Success probability of each run"
    for figure in figures:
        assert figure["wide"] and figure["marks"] > 1 and figure["inside"] and figure["coloured"], figure
    assert tab.complaints() == []
    assert len(tab.requests()) == 1


def test_tables_sort_by_number_and_by_text_both_ways(opened, tmp_path, mixed) -> None:
    rows = [msgspec.structs.replace(row, device=f"dev{row.job_id % (1 + row.job_id % 12)}") for row in mixed(200, 1)]
    tab = opened([store(tmp_path, rows)])

    def click(column: int) -> list[str]:
        tab.value(f'document.querySelectorAll("#table-devices th button")[{column}].click()')
        shown: list[str] = tab.value(f'({COLUMN})("#table-devices", {column})')
        return shown

    jobs = [int(words) for words in tab.value(f'({COLUMN})("#table-devices", 1)')]
    assert len(set(jobs)) > 2 and jobs != sorted(jobs)
    assert [int(words) for words in click(1)] == sorted(jobs)
    assert [int(words) for words in click(1)] == sorted(jobs, reverse=True)
    assert click(0) == [f"dev{number}" for number in range(12)]  # as people number them
    assert tab.value('document.querySelector("#table-devices th").getAttribute("aria-sort")') == "ascending"
    unanswered_last = click(4)
    assert [words for words in unanswered_last if words != "–"] == sorted(
        (words for words in unanswered_last if words != "–"), key=float
    )
    assert tab.complaints() == []


def test_a_hostile_name_runs_nothing(opened, tmp_path, mixed) -> None:
    bad = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    rows = [msgspec.structs.replace(row, device=bad, error=bad) for row in mixed(60, 1)]
    tab = opened([store(tmp_path, rows, policy=bad, reasons=(bad,))])
    assert "taken" in tab.value("document.body.textContent")
    assert tab.value("document.querySelectorAll('img').length") == 0
    assert tab.value("document.title") != "taken"
    assert tab.complaints() == []


def test_dark_and_paper(opened, tmp_path, mixed) -> None:
    tab = opened([store(tmp_path, mixed(200, 1))])
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = 'getComputedStyle(document.querySelector("svg .label")).fill'
    tab.emulate(scheme="dark")
    dark = tab.value(paper), tab.value(ink)
    tab.emulate(scheme="light")
    light = tab.value(paper), tab.value(ink)
    assert light == ("rgb(255, 255, 255)", "rgb(28, 31, 36)") and dark[0] != light[0] and dark[1] != light[1]
    tab.emulate(media="print", scheme="dark")
    tab.call("Emulation.setDeviceMetricsOverride", width=700, height=1000, deviceScaleFactor=1, mobile=False)
    assert tab.value(paper) == "rgb(255, 255, 255)" and tab.value(ink) == "rgb(0, 0, 0)"
    cut = "one.scrollHeight > one.clientHeight + 1 || one.scrollWidth > one.clientWidth + 1"
    assert tab.value(f'[...document.querySelectorAll(".table")].filter((one) => {cut}).length') == 0
    pdf = tab.call("Page.printToPDF", printBackground=True)["data"]
    assert len(pdf) > 10_000
    assert tab.complaints() == []


def test_whatever_a_run_lacks_its_page_works(opened, tmp_path, mixed, not_answering) -> None:
    from testbed.jobs.ledger import Outcome
    from testbed.reporting.stored_run import StoredRun

    cut_short = StoredRun.create(tmp_path, "poor-channel", "greedy")
    cut_short.append(mixed(20, 1))
    unanswered = store(tmp_path, [not_answering(number, Outcome.DROPPED) for number in range(5)])
    for number, run in enumerate((cut_short, unanswered, store(tmp_path, []))):
        tab = opened([run], f"{number}.html")
        assert tab.complaints() == []
        assert tab.value("document.querySelectorAll('h2').length") >= 2
