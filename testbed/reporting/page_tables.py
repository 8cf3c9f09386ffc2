"""The tables of a page that tell of jobs."""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence

import msgspec
import numpy as np

from testbed.jobs.intervals import wilson_interval
from testbed.jobs.ledger import STAGES, Outcome
from testbed.reporting.figures_jobs import WORDS, Bought, Split
from testbed.reporting.page_cells import MOST_ROWS, Cell, Table, ms_cell, share_cell
from testbed.reporting.page_data import Shown
from testbed.reporting.page_words import ABSENT, interval, percent, size
from testbed.reporting.phases import Phase
from testbed.reporting.verdict import ANSWERED, VALID


def runs_table(runs: Sequence[Shown]) -> Table:
    """Each run in figures."""
    columns = ("run", "jobs", "success", "95 %", "accuracy", "answered", "p50", "p95", "p99", "bytes a job", "verdict")
    rows = []
    for run in runs:
        summary = run.summary
        rows.append(
            [
                Cell(run.label),
                Cell(f"{summary.issued:,}", summary.issued),
                share_cell(summary.success_probability),
                Cell(interval(summary.success_interval)),
                share_cell(summary.accuracy),
                share_cell(summary.accuracy_answered),
                ms_cell(summary.completion_p50_ms),
                ms_cell(summary.completion_p95_ms),
                ms_cell(summary.completion_p99_ms),
                Cell(size(summary.payload_bytes_per_job), summary.payload_bytes_per_job),
                Cell(summary.verdict, bad=summary.verdict != VALID),
            ]
        )
    caption = "Accuracy counts a job that is not on time as wrong; answered: of the answered jobs. Times in ms."
    return Table("runs", caption, columns, rows)


def stage_table(splits: Sequence[Split]) -> Table:
    """The means of the stages, in numbers."""
    columns = ("jobs", "number", *(stage.replace("_", " ") for stage in STAGES), "sum")
    rows = []
    for split in splits:
        means = [ms_cell(split.mean_ms[stage]) for stage in STAGES]
        rows.append(
            [Cell(split.label), Cell(f"{split.jobs:,}", split.jobs), *means, ms_cell(sum(split.mean_ms.values()))]
        )
    return Table("stage-means", "Mean milliseconds of each stage.", columns, rows)


def bought_table(points: Sequence[Bought], caption: str) -> Table:
    """Accuracy and bytes, in numbers."""
    rows = [
        [
            Cell(point.label),
            Cell(f"{point.jobs:,}", point.jobs),
            Cell(size(point.payload_bytes), point.payload_bytes),
            share_cell(point.accuracy),
            Cell(interval(point.accuracy_interval)),
        ]
        for point in points
    ]
    return Table("bought", caption, ("decision", "jobs", "payload a job", "accuracy", "95 %"), rows)


def misses_table(runs: Sequence[Shown]) -> Table | None:
    """Why jobs were not answered on time: late ones by stage, the others by what they were told; None if all were."""
    rows = []
    for run in runs:
        missed = run.jobs[~run.is_(Outcome.ON_TIME)]
        stages = missed["late_stage"].fillna("").map(lambda stage: f"in {WORDS.get(stage, stage)}" if stage else "")
        reasons = stages.where(stages != "", missed["error"].fillna(ABSENT))
        counts = collections.Counter(zip(missed["outcome"], reasons, strict=True))
        rows += [
            [Cell(run.label), Cell(str(outcome)), Cell(str(why)), Cell(f"{n:,}", n), share_cell(n / len(run.jobs))]
            for (outcome, why), n in counts.most_common()
        ]
    if not rows:
        return None
    columns = ("run", "outcome", "where the deadline ran out, or why", "jobs", "of all")
    return _without_run(Table("misses", "Jobs that were not answered on time.", columns, rows, long=True), runs)


def phase_table(runs: Sequence[Shown]) -> Table | None:
    """The runs cut at their events; None where there is no event."""
    if all(len(run.summary.phases) < 2 for run in runs):
        return None
    columns = ("run", "from", "to", "jobs", "on time", "95 %", "accuracy", "decisions")
    rows = [
        [
            Cell(run.label),
            Cell(f"{phase.start_s:g} s", phase.start_s),
            Cell(f"{phase.end_s:g} s", phase.end_s),
            Cell(f"{phase.issued:,}", phase.issued),
            share_cell(phase.success_probability),
            Cell(interval(phase.success_interval)),
            share_cell(phase.accuracy),
            Cell(_decisions(phase)),
        ]
        for run in runs
        for phase in run.summary.phases
    ]
    caption = "The run cut at its events; accuracy counts a job that is not on time as wrong."
    return _without_run(Table("phases", caption, columns, rows, long=True), runs)


def class_table(runs: Sequence[Shown]) -> Table | None:
    """The classes of jobs, which have deadlines of their own; None where there are none."""
    rows = [
        [
            Cell(run.label),
            Cell(one.job_class or "(none)"),
            Cell(f"{one.deadline_ms:g} ms", one.deadline_ms),
            Cell(f"{one.issued:,}", one.issued),
            share_cell(one.success_probability),
            Cell(interval(one.success_interval)),
            share_cell(one.accuracy),
            *(ms_cell(figure) for figure in (one.completion_p50_ms, one.completion_p95_ms, one.completion_p99_ms)),
        ]
        for run in runs
        for one in run.summary.classes
    ]
    columns = ("run", "class", "deadline", "jobs", "on time", "95 %", "accuracy", "p50", "p95", "p99")
    return _without_run(Table("classes", "Classes of jobs; times in ms.", columns, rows), runs) if rows else None


def device_table(run: Shown) -> Table:
    """Each device's jobs; of many devices those with the lowest success."""
    rows = []
    on_time, answered = run.is_(Outcome.ON_TIME), run.is_(*ANSWERED)
    completion_ms, payload = run.column("completion_ms"), run.column("payload_bytes")
    devices = sorted(run.jobs.groupby("device").indices.items(), key=lambda pair: _natural(pair[0]))
    poorest = sorted(devices, key=lambda pair: float(on_time[pair[1]].mean()))[:MOST_ROWS]
    for name, place in devices if len(devices) <= MOST_ROWS else poorest:
        times = completion_ms[place][answered[place]]
        k, n = int(on_time[place].sum()), len(place)
        percentiles = np.percentile(times, (50, 95)).tolist() if len(times) else (None, None)
        rows.append(
            [
                Cell(str(name)),
                Cell(f"{n:,}", n),
                share_cell(k / n),
                Cell(interval(wilson_interval(k, n))),
                *map(ms_cell, percentiles),
                Cell(size(float(payload[place].mean())), float(payload[place].mean())),
            ]
        )
    columns = ("device", "jobs", "on time", "95 %", "p50", "p95", "payload a job")
    few = f" The {len(rows)} of {len(devices)} devices with the lowest success." if len(rows) < len(devices) else ""
    return Table("devices", f"Jobs by device; completion in ms, of the answered.{few}", columns, rows, long=True)


def _natural(name: str) -> list[tuple[int, str]]:
    """By which names sort as people number them: dev2 before dev10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _decisions(phase: Phase) -> str:
    ranked = sorted(phase.decisions.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {percent(n / phase.issued, 0)}" for name, n in ranked) or ABSENT


def _without_run(table: Table, runs: Sequence[Shown]) -> Table:
    """The table without its first column, where there is one run."""
    if len(runs) > 1:
        return table
    return msgspec.structs.replace(table, columns=table.columns[1:], rows=[row[1:] for row in table.rows])
