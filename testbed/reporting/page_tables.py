"""The tables of a page."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from testbed.jobs.intervals import wilson_interval
from testbed.jobs.ledger import STAGES, Outcome
from testbed.network.certify import CertificateEntry
from testbed.network.intervals import Interval
from testbed.reporting.figures_jobs import WORDS, Bought, Split
from testbed.reporting.page_data import Shown
from testbed.reporting.page_words import ABSENT, interval, milliseconds, percent, size
from testbed.reporting.phases import Phase
from testbed.reporting.verdict import ANSWERED, VALID

_MOST_DIFFERENCES = 60
_MOST_ROWS = 500
_OF_THE_MOMENT = ("load_average", "events", "overruns")
"""What no two runs share."""


class Cell(msgspec.Struct, frozen=True):
    """What a cell says, the number that it sorts by (None: the text), and whether it is something amiss."""

    words: str
    value: float | None = None
    bad: bool = False


class Table(msgspec.Struct, frozen=True):
    """A table of the page; one that is long scrolls."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: list[list[Cell]]
    long: bool = False


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
                _share(summary.success_probability),
                Cell(interval(summary.success_interval)),
                _share(summary.accuracy),
                _share(summary.accuracy_answered),
                _ms(summary.completion_p50_ms),
                _ms(summary.completion_p95_ms),
                _ms(summary.completion_p99_ms),
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
        means = [_ms(split.mean_ms[stage]) for stage in STAGES]
        rows.append([Cell(split.label), Cell(f"{split.jobs:,}", split.jobs), *means, _ms(sum(split.mean_ms.values()))])
    return Table("stage-means", "Mean milliseconds of each stage.", columns, rows)


def bought_table(points: Sequence[Bought], caption: str) -> Table:
    """Accuracy and bytes, in numbers."""
    rows = [
        [
            Cell(point.label),
            Cell(f"{point.jobs:,}", point.jobs),
            Cell(size(point.payload_bytes), point.payload_bytes),
            _share(point.accuracy),
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
            [Cell(run.label), Cell(str(outcome)), Cell(str(why)), Cell(f"{n:,}", n), _share(n / len(run.jobs))]
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
            _share(phase.success_probability),
            Cell(interval(phase.success_interval)),
            _share(phase.accuracy),
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
            _share(one.success_probability),
            Cell(interval(one.success_interval)),
            _share(one.accuracy),
            *(_ms(figure) for figure in (one.completion_p50_ms, one.completion_p95_ms, one.completion_p99_ms)),
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
    poorest = sorted(devices, key=lambda pair: float(on_time[pair[1]].mean()))[:_MOST_ROWS]
    for name, place in devices if len(devices) <= _MOST_ROWS else poorest:
        times = completion_ms[place][answered[place]]
        k, n = int(on_time[place].sum()), len(place)
        rows.append(
            [
                Cell(str(name)),
                Cell(f"{n:,}", n),
                _share(k / n),
                Cell(interval(wilson_interval(k, n))),
                *(_ms(figure) for figure in (np.percentile(times, (50, 95)).tolist() if len(times) else (None, None))),
                Cell(size(float(payload[place].mean())), float(payload[place].mean())),
            ]
        )
    columns = ("device", "jobs", "on time", "95 %", "p50", "p95", "payload a job")
    few = f" The {len(rows)} of {len(devices)} devices with the lowest success." if len(rows) < len(devices) else ""
    return Table("devices", f"Jobs by device; completion in ms, of the answered.{few}", columns, rows, long=True)


def certificate_table(run: Shown) -> Table | None:
    """Every direction of every link, measured against what was asked; None where nothing was measured."""
    rows = [
        [
            Cell(when),
            Cell(_direction(entry.link, entry.direction)),
            *_measured(entry),
            Cell("ok" if entry.ok else entry.reason or "missed", bad=not entry.ok),
        ]
        for when, entries in (("before", run.proof.before), ("after", run.proof.after))
        for entry in entries
    ]
    if not rows:
        return None
    columns = ("when", "direction", "bandwidth, Mbit/s", "delay, ms", "jitter, ms", "loss, %", "")
    caption = "Asked / measured (interval); columns sort by what was measured."
    return _bounded(Table("certificate", caption, columns, rows, long=True))


def bytes_table(run: Shown) -> Table | None:
    """What the links carried beside what the run explains; None where it was not counted."""
    names = ("carried_bytes", "ledger_bytes", "retransmitted_bytes", "overhead_bytes", "unexplained_bytes")
    rows = []
    for one in run.proof.bytes:
        counts = [one.get(name) for name in names]
        bad = one.get("ok") is False
        rows.append(
            [
                Cell(_direction(one.get("link") or ("?", "?"), str(one.get("direction")))),
                *(Cell(size(count), count) for count in counts),
                Cell(str(one.get("reason") or ("ok" if one.get("ok") else ABSENT)), bad=bad),
            ]
        )
    if not rows:
        return None
    columns = ("direction", "carried", "in the ledger", "sent again", "headers", "unexplained", "")
    return _bounded(Table("bytes", "IP bytes of each direction, and what explains them.", columns, rows, long=True))


def made_from_table(run: Shown) -> Table:
    """The manifest in brief; the page has the whole beside it."""
    manifest = run.manifest
    workload, policy = manifest.get("workload") or {}, manifest.get("policy") or {}
    versions = manifest.get("versions") or {}
    options = ", ".join(f"{name}: {json.dumps(value)}" for name, value in (policy.get("options") or {}).items())
    said = {
        "folder": run.folder,
        "workload": workload.get("name"),
        "topology": (manifest.get("topology") or {}).get("name"),
        "policy": f"{policy.get('name', ABSENT)}{f' ({options})' if options else ''}",
        "arrivals during": f"{run.summary.duration_s:g} s",
        "seed": manifest.get("seed"),
        "links shaped by": manifest.get("shaping"),
        "checkpoint": manifest.get("checkpoint_sha256"),
        "testbed": manifest.get("testbed"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "kernel": " ".join(str(manifest[name]) for name in ("kernel", "machine") if name in manifest),
        "cpus, load before": ", ".join(
            str(part) for part in (manifest.get("cpus"), *(manifest.get("load_average") or ())) if part is not None
        ),
        "paced computations overrun": manifest.get("overruns"),
        "CPUs busy": _busy(manifest.get("cpu_busy") or ()),
    }
    rows = [[Cell(name), Cell(str(value))] for name, value in said.items() if value not in (None, "")]
    return Table("made-from", "What the run was made from.", ("", ""), rows)


def machine_table(run: Shown) -> Table | None:
    """The machines of a testbed of several, and how their clocks stood; None where there was one."""
    clocks = run.manifest.get("clocks") or {}
    rows = []
    for name, facts in (run.manifest.get("machines") or {}).items():
        clock = clocks.get(name) or {}
        offset, error = (None if clock.get(part) is None else 1e3 * clock[part] for part in ("offset_s", "error_s"))
        nodes = facts.get("nodes") or ()
        rows.append(
            [
                Cell(name),
                Cell(str(facts.get("address", ABSENT))),
                Cell(f"{len(nodes)}: {', '.join(nodes)}", len(nodes)),
                Cell(" ".join(str(facts[part]) for part in ("kernel", "machine") if part in facts)),
                Cell(str(facts.get("cpus", ABSENT)), facts.get("cpus")),
                Cell(ABSENT if offset is None else f"{offset:.3f} ± {error or 0:.3f} ms", offset),
            ]
        )
    columns = ("machine", "address", "nodes", "kernel", "CPUs", "clock ahead")
    return Table("machines", "Machines; clocks against the driver's.", columns, rows) if rows else None


def event_table(run: Shown) -> Table | None:
    """The workload's events, and when they took effect; None without any."""
    rows = []
    for event in run.manifest.get("events") or []:
        at_s, applied_s = event.get("at_s"), event.get("applied_s")
        took = "never" if applied_s is None else f"{applied_s:.3f} s"
        rows.append([Cell(f"{at_s:g} s", at_s), Cell(took, applied_s), Cell(str(event.get("what", "")))])
    return Table("events", "Events as they happened.", ("at", "applied", "what"), rows, long=True) if rows else None


def difference_table(runs: Sequence[Shown]) -> Table | None:
    """Where the manifests differ, leaf by leaf; None where they do not."""
    leaves = [dict(_leaves(run.manifest)) for run in runs]
    names = list(dict.fromkeys(name for each in leaves for name in each))
    differing = [name for name in names if len({each.get(name) for each in leaves}) > 1]
    rows = [[Cell(name), *(Cell(each.get(name, ABSENT)) for each in leaves)] for name in differing[:_MOST_DIFFERENCES]]
    more = len(differing) - len(rows)
    caption = "Where the manifests differ" + (f"; {more} more do." if more else ".")
    columns = ("", *(run.label for run in runs))
    return Table("differences", caption, columns, rows, long=True) if rows else None


def _leaves(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if name or key not in _OF_THE_MOMENT:
                yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, json.dumps(value)


def _measured(entry: CertificateEntry) -> list[Cell]:
    asked, measured = entry.asked, entry.measured
    return [
        _pair(asked.bandwidth_bps, measured.bandwidth_bps, 1e-6),
        _pair(asked.delay_ms, measured.delay_ms, 1),
        _pair(asked.jitter_ms, measured.jitter_ms, 1),
        _pair(asked.loss, measured.loss, 100),
    ]


def _pair(asked: float | None, measured: Interval | None, scale: float) -> Cell:
    left = ABSENT if asked is None else f"{asked * scale:.3g}"
    if measured is None:
        return Cell(f"{left} / {ABSENT}")
    low, high = measured.low * scale, measured.high * scale
    words = f"{left} / {_brief(measured.value * scale)} ({_brief(low)}–{_brief(high)})"
    return Cell(words, measured.value * scale)


def _busy(shares: Sequence[float]) -> str:
    return (
        f"{percent(sum(shares) / len(shares), 0)} on average, {percent(max(shares), 0)} at the most" if shares else ""
    )


def _bounded(table: Table) -> Table:
    """The table, of many rows those first in which something is amiss."""
    if len(table.rows) <= _MOST_ROWS:
        return table
    rows = sorted(table.rows, key=lambda row: not any(cell.bad for cell in row))[:_MOST_ROWS]
    caption = f"{table.caption} {_MOST_ROWS} of {len(table.rows)}, what is amiss first; certificate.json has all."
    return msgspec.structs.replace(table, caption=caption, rows=rows)


def _natural(name: str) -> list[tuple[int, str]]:
    """By which names sort as people number them: dev2 before dev10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _brief(figure: float) -> str:
    return f"{figure:.3g}" if abs(figure) >= 5e-4 else "0"


def _direction(link: Sequence[str], direction: str) -> str:
    start, end = link if direction == "up" else link[::-1]
    return f"{start} to {end}"


def _decisions(phase: Phase) -> str:
    ranked = sorted(phase.decisions.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {percent(n / phase.issued, 0)}" for name, n in ranked) or ABSENT


def _without_run(table: Table, runs: Sequence[Shown]) -> Table:
    """The table without its first column, where there is one run."""
    if len(runs) > 1:
        return table
    return msgspec.structs.replace(table, columns=table.columns[1:], rows=[row[1:] for row in table.rows])


def _share(share: float | None) -> Cell:
    return Cell(percent(share), share)


def _ms(figure: float | None) -> Cell:
    return Cell(milliseconds(figure).removesuffix(" ms"), figure)
