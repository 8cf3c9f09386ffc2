"""The experiment on poor channels: every method side by side over emulated links that get poorer and poorer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import pandas as pd
import yaml

from testbed.experiments.findings import verdicts
from testbed.experiments.poor_channel import documents, results
from testbed.experiments.poor_channel.claims import HEADLINE, claims
from testbed.experiments.poor_channel.crossovers import crossover
from testbed.experiments.poor_channel.methods import OURS, RIVAL, Method, compared
from testbed.experiments.poor_channel.outcomes import Outcome, Outcomes, read
from testbed.experiments.poor_channel.settings import EMULATED, PARTS, SIMULATED, Part, Settings
from testbed.experiments.report import Made, Report, write
from testbed.experiments.tables import Table
from testbed.jobs.profile import Profile
from testbed.reporting.ownership import make_folders
from testbed.reporting.stored_run import StoredRun, open_run

COLUMNS = ("sweep", "value", "method", "seed", "jobs", "median_ms", "p95_ms", "accuracy", "payload_bytes")
"""Of `outcomes.csv`: a row for every phase, method and repetition."""

WORKLOAD, TOPOLOGY = "workload.yaml", "topology.yaml"
RunFiles = Callable[[Path, Path, Path], object]
"""Runs a workload file over a topology file, and stores the run below a folder."""


class Done(msgspec.Struct, frozen=True):
    """A run of the experiment."""

    part: Part
    seed: int
    run: StoredRun


def reproduce(
    profile: Profile,
    checkpoint: str,
    settings: Settings,
    output: Path,
    simulate: RunFiles,
    emulate: RunFiles | None,
    tell: Callable[[str], None],
) -> Made:
    """Run what has not been run below `output`, then report from all runs: of the emulated network, and how far the
    model is from it; without `emulate`, of the model alone.

    Raises what `emulate` and `simulate` do, and OSError.
    """
    methods = compared(profile)
    asked = [(part, seed) for seed in settings.seeds for part in PARTS]
    done: dict[str, list[Done]] = {}
    ways = {EMULATED: emulate, SIMULATED: simulate} if emulate else {SIMULATED: simulate}
    for how, run in ways.items():
        for number, (part, seed) in enumerate(asked, 1):
            tell(f"{how} {number} of {len(asked)}: {part.name}, seed {seed}")
            files = _files(methods, part, checkpoint, settings, seed)
            folder = _folder(output / "runs" / f"{how}-{part.name}-{seed}", files, profile.checkpoint)
            found = _run(files, folder, len(part.phases) * settings.phase_s, run)
            done.setdefault(how, []).append(Done(part, seed, found))
    outcomes = {how: _outcomes(runs, methods, settings) for how, runs in done.items()}
    made = _report(outcomes, methods, profile, settings, done)
    return Made(made, _write(made, next(iter(outcomes.values())), methods, output))


def _files(methods: Sequence[Method], part: Part, checkpoint: str, settings: Settings, seed: int) -> dict[str, str]:
    made = {
        WORKLOAD: documents.workload(methods, part, checkpoint, settings.phase_s, seed),
        TOPOLOGY: documents.topology(methods, part),
    }
    return {name: yaml.safe_dump(document, sort_keys=False, width=120) for name, document in made.items()}


def _folder(begun: Path, files: Mapping[str, str], checkpoint: str) -> Path:
    """Another one wherever another run is asked for."""
    digest = hashlib.sha256("\n".join((*files.values(), checkpoint)).encode()).hexdigest()[:8]
    return begun.with_name(f"{begun.name}-{digest}")


def _run(files: Mapping[str, str], folder: Path, least_s: float, run: RunFiles) -> StoredRun:
    """The run of these files: as it was stored, if one was that was not cut short."""
    for stored in _stored(folder):
        if stored.summary.duration_s >= least_s:
            return stored
    make_folders(folder)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    run(folder / WORKLOAD, folder / TOPOLOGY, folder)
    return _stored(folder)[-1]


def _stored(folder: Path) -> list[StoredRun]:
    return [open_run(path.parent) for path in sorted(folder.glob("*/summary.json"))]


def _outcomes(runs: Sequence[Done], methods: Sequence[Method], settings: Settings) -> Outcomes:
    return Outcomes(
        tuple(row for one in runs for row in read(one.run.jobs(), methods, one.part, settings.phase_s, one.seed))
    )


def _report(
    outcomes: Mapping[str, Outcomes],
    methods: Sequence[Method],
    profile: Profile,
    settings: Settings,
    done: Mapping[str, Sequence[Done]],
) -> Report:
    how, found = next(iter(outcomes.items()))
    ours = [method.name for method in methods if method.name.startswith(HEADLINE)]
    others = [method.name for method in methods if method.option.encoding not in (OURS, RIVAL)]
    crossings = [one for mine in ours for other in others if (one := crossover(found, mine, other))]
    shown = (
        results.completions(found, methods),
        results.crossovers(crossings),
        verdicts("Claims of the papers", claims(found, methods, crossings)),
        *results.gaps(outcomes, methods),
        _runs([one for runs in done.values() for one in runs]),
    )
    rest = (
        results.methods_compared(found, methods, profile),
        *results.successes(found, methods),
        *results.lossy_completions(found, methods),
        results.best_within(found, methods),
    )
    left_out = "" if any(method.like for method in methods) else " The profile has no points of BottleNet++."
    heading = (
        f"Seeds {', '.join(map(str, settings.seeds))}, phases of {settings.phase_s:g} s, {how}. Each method is a "
        f"device with an edge of its own, and does one job after the other (LoadGen's single stream), all at the same "
        f"time over links that change together. Intervals are 95 %, over the repetitions.{left_out}"
    )
    return Report("Poor channels", heading, shown, rest)


def _runs(runs: Sequence[Done]) -> Table:
    """What the experiment rests on."""
    rows = []
    for one in runs:
        jobs, summary = one.run.jobs(), one.run.summary
        unanswered = int((~jobs["outcome"].isin(["on_time", "late"])).sum())
        reasons = "; ".join(summary.reasons[:2])
        rows.append((str(one.run.path), summary.verdict, reasons, f"{len(jobs):,}", f"{unanswered:,}"))
    return Table("Runs", ("run", "verdict", "why", "jobs", "unanswered"), tuple(rows), names=3)


def _write(made: Report, outcomes: Outcomes, methods: Sequence[Method], folder: Path) -> Path:
    from testbed.experiments.poor_channel.figures import draw

    make_folders(folder)
    return write(made, draw(outcomes, methods, folder), COLUMNS, map(_row, outcomes.rows), folder)


def _row(row: Outcome) -> tuple[object, ...]:
    p95_ms = float(pd.Series(row.completion_ms).quantile(0.95)) if row.jobs else None
    figures = (row.median_ms, p95_ms, row.accuracy(), row.payload_bytes) if row.jobs else (None,) * 4
    return (row.sweep, row.value, row.method, row.seed, row.jobs, *figures)
