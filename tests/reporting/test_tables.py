"""The tables in a terminal and in a file: every figure whole, at 100 columns and below."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.cells import cell_len

from testbed.documents.workload import Workload
from testbed.reporting.loadgen import loadgen
from testbed.reporting.summary import summarise
from testbed.reporting.tables import WIDTH, show

POLICIES = ("local", "full", "fixed layer3/k16/b4", "greedy", "mypolicies.clever:Clever")


def printed(summaries) -> str:
    out = io.StringIO()
    show(summaries, file=out)
    return out.getvalue()


@pytest.fixture
def summaries(mixed):
    return [
        summarise(policy, mixed(434, seed), issued=434, duration_s=43.4, event_times_s=[10, 20])
        for seed, policy in enumerate(POLICIES)
    ]


@pytest.mark.parametrize("columns", ["40", "80", "100", "200"])
def test_every_figure_of_a_comparison_is_whole_whatever_the_terminal(summaries, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    text = printed(summaries)
    assert "…" not in text
    assert max(cell_len(line) for line in text.splitlines()) <= WIDTH
    for summary in summaries:
        low, high = summary.success_interval
        figures = " / ".join(
            f"{ms:.0f}" for ms in (summary.completion_p50_ms, summary.completion_p95_ms, summary.completion_p99_ms)
        )
        assert f"{100 * summary.success_probability:.1f} % ({100 * low:.1f}-{100 * high:.1f})" in text
        assert figures in text
        assert f"{summary.payload_bytes_per_job:.0f}" in text


def test_the_best_policy_of_each_phase_is_marked(summaries):
    text = printed(summaries)
    lines = text[text.index("Accuracy by phase") : text.index("Decisions by phase")].splitlines()
    assert sum(line.count("*") for line in lines[1:]) == 3
    for phase in range(3):
        best = max(summaries, key=lambda summary: summary.phases[phase].accuracy)
        (line,) = [line for line in lines if line.startswith(best.policy)]
        assert f"* {100 * best.phases[phase].accuracy:.1f} %" in line


def test_what_a_policy_chose_in_each_phase_is_shown(summaries):
    text = printed(summaries)
    chosen = text[text.index("Decisions by phase") :]
    phase = summaries[3].phases[1]
    (line,) = [line for line in chosen.splitlines() if line.startswith("greedy") and "10-20 s" in line]
    for count in phase.decisions.values():
        assert f"{100 * count / phase.issued:.1f} %" in line


def test_one_run_is_shown_by_its_figures_without_marks(summaries):
    text = printed(summaries[3:4])
    assert "success probability (95 %)" in text and "VALID" in text
    assert "*" not in text


def test_an_invalid_run_says_why(mixed):
    text = printed([summarise("local", mixed(10, 1), issued=11, duration_s=1.0)])
    assert "local is INVALID: 11 jobs issued, but" in text


def test_a_run_without_jobs_and_names_that_look_like_markup_are_shown(mixed):
    text = printed([summarise("[red]odd[/red]", [], issued=0, duration_s=1.0)] * 2)
    assert "[red]" in text
    assert "VALID" in text


def test_two_runs_of_one_policy_can_be_told_apart(mixed):
    text = printed([summarise("fixed", mixed(10, seed), issued=10, duration_s=1.0) for seed in (1, 2)])
    assert [line.split("  ")[0] for line in text.splitlines()[2:4]] == ["fixed", "fixed (2)"]


def test_classes_and_scenarios_are_told_where_there_are_any(mixed):
    rows = [msgspec.structs.replace(row, job_class="urgent" if row.job_id % 3 else None) for row in mixed(300, 1)]
    arrivals = {"process": "server", "rate": "1 /s"}
    document = {"name": "w", "duration": "1 s", "deadline": "1 s", "offloading": {"policy": "greedy"}}
    scenario = loadgen(Workload.model_validate({**document, "arrivals": arrivals}).arrivals, rows)
    summary = summarise("greedy", rows, issued=300, duration_s=30.0, scenario=scenario)
    assert [(each.job_class, each.issued) for each in summary.classes] == [(None, 100), ("urgent", 200)]
    for summaries in ([summary], [summary, summary]):
        text = printed(summaries)
        assert "urgent" in text and "(none)" in text and "200 ms" in text
        assert "99th percentile" in text and f"{scenario.over_latency} of 300 over the bound" in text
