"""The report page: one HTML file that needs nothing beside it, for one run or the comparison of several."""

from __future__ import annotations

import base64
import collections
import hashlib
from collections.abc import Sequence
from pathlib import Path

import jinja2
import msgspec
from markupsafe import Markup

from testbed.reporting.figures_jobs import (
    accuracy_against_bytes,
    bought,
    bought_whole,
    completion,
    deadlines_ms,
    stage_breakdown,
    stages,
    success_by_run,
)
from testbed.reporting.figures_svg import Drawing
from testbed.reporting.figures_time import success_beside_channel
from testbed.reporting.figures_topology import topology_drawn
from testbed.reporting.ownership import give_to_caller
from testbed.reporting.page_cells import Table
from testbed.reporting.page_data import Shown, read
from testbed.reporting.page_provenance import (
    bytes_table,
    certificate_table,
    difference_table,
    event_table,
    machine_table,
    made_from_table,
)
from testbed.reporting.page_tables import (
    bought_table,
    class_table,
    device_table,
    misses_table,
    phase_table,
    runs_table,
    stage_table,
)
from testbed.reporting.page_words import ABSENT, interval, milliseconds, percent, size
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.verdict import VALID

NAME = "report.html"
_MOST_CHARACTERS = 500_000
"""Of a manifest that is on the page as a whole."""

_OPTIONS = "What was decided, over the answered jobs; vertical lines are 95 % Wilson intervals."
_WHOLE = "Each run over all its jobs, of which those not on time count as wrong; with 95 % Wilson intervals."


class Section(msgspec.Struct, frozen=True):
    """A part of the page: its figure, if it has one, and its tables."""

    heading: str
    drawing: Drawing | None
    tables: list[Table]


class Figure(msgspec.Struct, frozen=True):
    """A number at the head of the page."""

    name: str
    words: str
    beside: str = ""


def page(runs: Sequence[StoredRun]) -> str:
    """The page of one run, or the comparison of several.

    Raises:
        Unreadable: a file of a run is not what runs write.
    """
    shown = [read(run, label) for run, label in zip(runs, _labels(runs), strict=True)]
    return _alone(shown[0]) if len(shown) == 1 else _compared(shown)


def write_page(runs: Sequence[StoredRun], path: Path) -> None:
    """Writes the page, in one piece or not at all, as its caller's.

    Raises:
        Unreadable: as `page`.
        OSError: it cannot be written.
    """
    content = page(runs)
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(content, encoding="utf-8")
    give_to_caller(unfinished)
    unfinished.replace(path)


def draw_own_page(stored: StoredRun) -> str | None:
    """Writes a run's page into its folder. What the page cannot show is no reason to lose the run: why, if so."""
    try:
        write_page([stored], stored.path / NAME)
    except Exception as error:  # whatever it is, the run is stored
        return f"no page was drawn of {stored.path}: {str(error) or type(error).__name__}"
    return None


def _alone(run: Shown) -> str:
    options = bought(run)
    sections = [
        Section("Network", topology_drawn(run, run.topology) if run.topology else None, []),
        _over_time([run]),
        *_jobs([run]),
    ]
    if options:
        table = bought_table(options, "The answered jobs by what was decided.")
        sections.append(Section("Accuracy against bytes", accuracy_against_bytes(options, _OPTIONS), [table]))
    sections += [
        Section("Misses", None, _those(misses_table([run]))),
        Section("Devices", None, [device_table(run)]),
        Section("Certificate", None, _those(certificate_table(run), bytes_table(run))),
        Section("Manifest", None, _those(made_from_table(run), machine_table(run), event_table(run))),
    ]
    return _rendered(run.folder, [run], _figures(run), sections)


def _compared(runs: Sequence[Shown]) -> str:
    wholes = bought_whole(runs)
    sections = [
        Section("Success", success_by_run(runs), [runs_table(runs)]),
        _over_time(runs),
        *_jobs(runs),
    ]
    if wholes:
        sections.append(Section("Accuracy against bytes", accuracy_against_bytes(wholes, _WHOLE), []))
    if topology := runs[0].topology:
        sections.append(Section("Network of the first run", topology_drawn(runs[0], topology), []))
    sections += [
        Section("Misses", None, _those(misses_table(runs))),
        Section("Manifests", None, _those(difference_table(runs))),
    ]
    return _rendered(" / ".join(run.label for run in runs), runs, [], sections)


def _over_time(runs: Sequence[Shown]) -> Section:
    drawing = success_beside_channel(runs) if any(len(run.jobs) for run in runs) else None
    return Section("Success beside the channel", drawing, _those(phase_table(runs), class_table(runs)))


def _jobs(runs: Sequence[Shown]) -> list[Section]:
    """What answered jobs tell."""
    splits, deadlines = stages(runs), deadlines_ms(runs)
    if not splits:
        return []
    return [
        Section("Where the time went", stage_breakdown(splits, deadlines), [stage_table(splits)]),
        Section("Completion times", completion(runs, deadlines), []),
    ]


def _figures(run: Shown) -> list[Figure]:
    one = run.summary
    times = " / ".join(
        milliseconds(figure).removesuffix(" ms")
        for figure in (one.completion_p50_ms, one.completion_p95_ms, one.completion_p99_ms)
    )
    counts = f"{one.on_time} on time, {one.late} late, {one.failed} failed, {one.dropped} dropped"
    answered = f"{percent(one.accuracy_answered)} of the answered"
    figures = [
        Figure("on time", percent(one.success_probability), interval(one.success_interval)),
        Figure("accuracy, a miss counts 0", percent(one.accuracy), answered),
        Figure("completion p50 / p95 / p99", f"{times} ms"),
        Figure("payload a job", size(one.payload_bytes_per_job)),
        Figure("jobs", f"{one.issued:,}", counts),
        Figure("on time a second", f"{one.throughput_on_time_per_s:.2f}"),
    ]
    if slots := one.slots:
        late = ABSENT if slots.late_p99_ms is None else f"{slots.late_p99_ms:.1f} ms"
        by = ", ".join(f"{name} {number}" for name, number in slots.decided_by.items())
        figures.append(
            Figure(
                "slots decided within 5 ms",
                percent(slots.share_on_time),
                f"{late} at the 99th per cent; jobs by {by or ABSENT}",
            )
        )
    if loadgen := one.loadgen:
        at = f"{milliseconds(loadgen.latency_ms)} at the {100 * loadgen.percentile:g}th per cent"
        why = "".join(f"; {reason}" for reason in loadgen.reasons)
        figures.append(Figure(f"LoadGen's {loadgen.scenario}", loadgen.result, f"{at}{why}"))
    return figures


def _rendered(title: str, runs: Sequence[Shown], figures: Sequence[Figure], sections: Sequence[Section]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("testbed.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _source(environment, "sort.js")
    return environment.get_template("report.html").render(
        title=title,
        runs=runs,
        valid=VALID,
        figures=figures,
        sections=[section for section in sections if section.drawing or section.tables],
        manifests=[(run.folder, _indented(run.manifest)) for run in runs if run.manifest],
        most=_MOST_CHARACTERS,
        style=_source(environment, "style.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _source(environment: jinja2.Environment, name: str) -> Markup:
    """A file of ours that goes into the page as it is."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _indented(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _labels(runs: Sequence[StoredRun]) -> list[str]:
    """The policies' names, numbered where several runs have the same."""
    names = [run.summary.policy for run in runs]
    counts = collections.Counter(names)
    seen: collections.Counter[str] = collections.Counter()
    labels = []
    for name in names:
        seen[name] += 1
        labels.append(f"{name} ({seen[name]})" if counts[name] > 1 else name)
    return labels


def _those(*tables: Table | None) -> list[Table]:
    return [table for table in tables if table is not None]
