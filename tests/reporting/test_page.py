"""The report page as text: what it says, what it escapes, and what becomes of runs that it cannot show."""

from __future__ import annotations

import math
import re

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.documents.resolved import Machine, Placement
from testbed.jobs.ledger import Outcome
from testbed.reporting.figures_svg import Linear, Logarithmic, tag
from testbed.reporting.figures_topology import CUT, MISSED, OK, STEADY, VARIED, link_states, topology_drawn
from testbed.reporting.page import NAME, draw_own_page, page, write_page
from testbed.reporting.page_data import Unreadable, read
from testbed.reporting.page_provenance import certificate_table, difference_table
from testbed.reporting.page_tables import device_table, misses_table
from testbed.reporting.stored_run import StoredRun, open_run
from tests.reporting.page_runs import store, topology

HOSTILE = "<script>alert(1)</script>\"'&"


def test_a_page_says_what_the_run_came_to(tmp_path, mixed) -> None:
    run = store(tmp_path, mixed(60, 1), reasons=("a link went missing",))
    content = page([run])
    for words in (
        "INVALID",
        "a link went missing",
        "jobs on time, %",
        "uplink",
        "10 Mbit/s",
        "set dev1-ap1",
        "no edge",
    ):
        assert words in content
    assert f"{100 * run.summary.success_probability:.1f} %" in content
    assert "http" not in content.replace("http-equiv", "")  # nothing is fetched, and nothing is linked


def test_names_from_files_are_text(tmp_path, mixed) -> None:
    rows = [msgspec.structs.replace(row, device=HOSTILE, error=HOSTILE, encoding=HOSTILE) for row in mixed(30, 1)]
    one = store(tmp_path, rows, policy=HOSTILE, reasons=(HOSTILE,))
    other = store(tmp_path, rows, policy=HOSTILE)
    for content in (page([one]), page([one, other])):
        assert content.count("<script>") == content.count("</script>") == 1  # the page's own
        assert "&lt;script&gt;alert(1)" in content


@given(st.text(), st.text())
def test_elements_escape_what_they_are_given(text: str, attribute: str) -> None:
    made = str(tag("text", text, class_=attribute))
    inner = re.fullmatch(r'<text class="([^"<>]*)">([^<>]*)</text>', made, re.DOTALL)
    assert inner is not None


def test_a_run_cut_short_has_a_page(tmp_path, mixed) -> None:
    run = StoredRun.create(tmp_path, "poor-channel", "greedy")
    run.append(mixed(20, 1))
    assert "did not come to its end" in page([open_run(run.path)])


def test_a_run_without_jobs_has_a_page(tmp_path) -> None:
    assert "VALID" in page([store(tmp_path, [])])


def test_a_run_of_which_nothing_was_answered_has_a_page(tmp_path, not_answering) -> None:
    rows = [not_answering(number, Outcome.DROPPED) for number in range(5)]
    assert "no edge can be reached" in page([store(tmp_path, rows)])


def test_what_cannot_be_drawn_is_told_and_leaves_the_run_as_it_was(tmp_path, mixed) -> None:
    run = store(tmp_path, mixed(20, 1))
    assert draw_own_page(run) is None and (run.path / NAME).exists()
    (run.path / NAME).unlink()
    (run.path / "certificate.json").write_text('{"before": 7}')
    before = sorted(path.name for path in run.path.iterdir())
    fault = draw_own_page(run)
    assert fault is not None and f"{run.path}/certificate.json: Expected `array`" in fault
    assert sorted(path.name for path in run.path.iterdir()) == before


def test_runs_of_one_policy_are_told_apart(tmp_path, mixed) -> None:
    content = page([store(tmp_path, mixed(20, seed), seed=seed) for seed in (1, 2)])
    assert "greedy (1)" in content and "greedy (2)" in content


def test_the_comparison_tells_where_manifests_differ(tmp_path, mixed) -> None:
    runs = [read(store(tmp_path, mixed(20, 1), policy, seed=seed)) for policy, seed in (("local", 1), ("greedy", 2))]
    table = difference_table(runs)
    assert table is not None
    assert {row[0].words: [cell.words for cell in row[1:]] for row in table.rows} == {
        "policy.name": ['"local"', '"greedy"'],
        "seed": ["1", "2"],
    }


def test_misses_are_counted_by_why(tmp_path, answering, not_answering) -> None:
    rows = [answering(0), *(answering(number, stage_ms=50.0) for number in (1, 2)), not_answering(3, Outcome.FAILED)]
    table = misses_table([read(store(tmp_path, rows))])
    assert table is not None
    assert [[cell.words for cell in row] for row in table.rows] == [
        ["late", "in uplink", "2", "50.0 %"],
        ["failed", "edge1 does not answer", "1", "25.0 %"],
    ]


def test_links_are_drawn_as_certified_and_as_they_were(tmp_path, mixed) -> None:
    run = read(store(tmp_path, mixed(20, 1), missed="dev3"))
    assert run.topology is not None
    states = {a: (state.certified, state.course) for (a, _), state in link_states(run, run.topology).items()}
    assert states == {"dev1": (OK, VARIED), "dev2": (OK, CUT), "dev3": (MISSED, STEADY), "edge1": (OK, STEADY)}
    drawn = str(topology_drawn(run, run.topology).svg)
    assert drawn.count('class="mark link') == 4 and drawn.count('class="mark node"') == 3
    assert "250 kbit/s to 10 Mbit/s" in drawn


def test_many_devices_are_drawn_by_the_state_of_their_links(tmp_path, mixed) -> None:
    run = read(store(tmp_path, mixed(20, 1), of=topology(devices=200), missed="dev3"))
    assert run.topology is not None
    drawn = str(topology_drawn(run, run.topology).svg)
    assert drawn.count('class="mark node"') == 4  # varied, cut, missed, and all the others
    assert "dev4 … dev200 (197)" in drawn


def test_nodes_are_drawn_with_their_machines(tmp_path, mixed) -> None:
    machines = (Machine("lab1", "10.9.0.1"), Machine("lab2", "10.9.0.2"))
    of = msgspec.structs.replace(topology(), machines=machines, place=Placement(by_hand={"edge1": "lab2"}))
    drawn = str(topology_drawn(read(store(tmp_path, mixed(20, 1), of=of)), of).svg)
    assert drawn.count("lab1, 5 GFLOP/s") == 3 and "lab2, 200 GFLOP/s" in drawn


@given(
    st.floats(-1e9, 1e9).flatmap(lambda low: st.tuples(st.just(low), st.floats(1e-6, 1e9).map(lambda span: low + span)))
)
def test_linear_ticks_are_few_and_lie_on_the_axis(bounds: tuple[float, float]) -> None:
    low, high = bounds
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        return
    ticks = [value for value, _ in Linear(low, high).ticks()]
    assert 1 <= len(ticks) <= 8 and ticks == sorted(ticks)
    assert all(-0.01 <= share <= 1.01 for share in Linear(low, high).share(np.array(ticks)))


@given(st.floats(1e-6, 1e9), st.floats(5, 1e6))
def test_logarithmic_ticks_are_few_and_lie_on_the_axis(low: float, span: float) -> None:
    ticks = [value for value, _ in Logarithmic(low, low * span).ticks()]
    assert 1 <= len(ticks) <= 12 and all(low * 0.999 <= value <= low * span * 1.001 for value in ticks)
    assert all(math.isfinite(value) for value in ticks)


@pytest.mark.parametrize("several", [False, True])
def test_a_page_is_written_in_one_piece(tmp_path, mixed, several) -> None:
    runs = [store(tmp_path, mixed(20, seed)) for seed in (1, 2)][: 1 + several]
    write_page(runs, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().rstrip().endswith("</html>")
    assert not list(tmp_path.glob(".page*"))


def test_the_machines_of_a_run_are_told_with_their_clocks(tmp_path, mixed) -> None:
    run = store(tmp_path, mixed(20, 1))
    machines = {"lab1": {"address": "10.9.0.1", "nodes": ["dev1"], "cpus": 2}, "lab2": {"address": "10.9.0.2"}}
    clocks = {"lab2": {"offset_s": -0.0015, "drift_s": 0.0, "error_s": 0.00002}}
    busy = {"lab1": [0.5, 0.7], "lab2": [0.1]}
    run.write_manifest({**run.manifest, "machines": machines, "clocks": clocks, "cpu_busy": busy})
    content = page([run])
    assert "-1.500 ± 0.020 ms" in content and "10.9.0.1" in content
    assert "lab1: 60 % on average, 70 % at the most; lab2: 10 %" in content


def test_what_is_amiss_comes_first_where_there_is_too_much_to_show(tmp_path, mixed) -> None:
    devices = 600
    rows = [msgspec.structs.replace(row, device=f"dev{row.job_id + 1}") for row in mixed(devices, 1)]
    run = read(store(tmp_path, rows, of=topology(devices), missed="dev600"))
    certificate, poorest = certificate_table(run), device_table(run)
    assert certificate is not None and len(certificate.rows) == len(poorest.rows) == 500
    assert certificate.rows[0][1].words == "dev600 to ap1" and "500 of 2404" in certificate.caption
    missed = sum(row.outcome is not Outcome.ON_TIME for row in rows)
    assert [row[2].words for row in poorest.rows[:missed]] == ["0.0 %"] * missed


@pytest.mark.parametrize(
    "part", [{"events": 3}, {"policy": []}, {"machines": {"lab1": 5}}, {"cpu_busy": {"lab1": "much"}}, {"topology": 1}]
)
def test_a_manifest_of_other_types_is_refused_with_the_field(tmp_path, mixed, part):
    run = store(tmp_path, mixed(5, 1))
    path = run.path / "manifest.json"
    path.write_bytes(msgspec.json.encode({**run.manifest, **part}))
    with pytest.raises(Unreadable, match=rf"manifest\.json: .*\$\.{next(iter(part))}"):
        page([run])
