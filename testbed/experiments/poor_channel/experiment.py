"""The experiment on poor channels: every method side by side over emulated links that get poorer and poorer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
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
from testbed.experiments.poor_channel.settings import PARTS, Part, Settings
from testbed.experiments.report import Made, Report, write
from testbed.experiments.tables import Table
from testbed.jobs.profile import Profile
from testbed.reporting.ownership import make_folders
from testbed.reporting.stored_run import StoredRun, open_run

COLUMNS = ("sweep", "value", "method", "seed", "jobs", "median_ms", "p95_ms", "accuracy", "payload_bytes")
"""Of `outcomes.csv`: a row for every phase, method and repetition."""

Emulate = Callable[[Path, Path, Path], StoredRun]
"""Runs a workload file over a topology file, and stores the run below a folder."""


class Done(msgspec.Struct, frozen=True):
    """A run of the experiment."""

    part: Part
    seed: int
    run: StoredRun


def reproduce(
    profile: Profile, checkpoint: str, settings: Settings, output: Path, emulate: Emulate, tell: Callable[[str], None]
) -> Made:
    """Run what has not been run below `output`, then report from all runs.

    Raises what `emulate` does, and OSError.
    """
    methods = compared(profile)
    asked = [(part, seed) for seed in settings.seeds for part in PARTS]
    done = []
    for number, (part, seed) in enumerate(asked, 1):
        tell(f"{number} of {len(asked)}: {part.name}, seed {seed}")
        done.append(Done(part, seed, _run(methods, part, checkpoint, profile, settings, seed, output, emulate)))
    frames = [(one, one.run.jobs()) for one in done]
    rows = [row for one, jobs in frames for row in read(jobs, methods, one.part, settings.phase_s, one.seed)]
    made = _report(Outcomes(tuple(rows)), methods, profile, settings, frames)
    return Made(made, _write(made, Outcomes(tuple(rows)), methods, output))


def _run(
    methods: Sequence[Method],
    part: Part,
    checkpoint: str,
    profile: Profile,
    settings: Settings,
    seed: int,
    output: Path,
    emulate: Emulate,
) -> StoredRun:
    """The run of a part with a seed: as it was stored, if it was."""
    topology = yaml.safe_dump(documents.topology(methods, part), sort_keys=False)
    workload = yaml.safe_dump(
        documents.workload(methods, part, checkpoint, settings.phase_s, seed), sort_keys=False, width=120
    )
    digest = hashlib.sha256("\n".join((topology, workload, profile.checkpoint)).encode()).hexdigest()[:8]
    folder = output / "runs" / f"{part.name}-{seed}-{digest}"
    for path in sorted(folder.glob("*/summary.json")):
        return open_run(path.parent)
    make_folders(folder)
    files = folder / "topology.yaml", folder / "workload.yaml"
    for path, text in zip(files, (topology, workload), strict=True):
        path.write_text(text, encoding="utf-8")
    return emulate(files[1], files[0], folder)


def _report(
    outcomes: Outcomes,
    methods: Sequence[Method],
    profile: Profile,
    settings: Settings,
    frames: Sequence[tuple[Done, pd.DataFrame]],
) -> Report:
    ours = [method.name for method in methods if method.name.startswith(HEADLINE)]
    others = [method.name for method in methods if method.option.encoding not in (OURS, RIVAL)]
    crossings = [one for mine in ours for other in others if (one := crossover(outcomes, mine, other))]
    shown = (
        results.completions(outcomes, methods),
        results.crossovers(crossings),
        verdicts("Claims of the papers", claims(outcomes, methods, crossings)),
        _runs(frames),
    )
    rest = (
        results.methods_compared(outcomes, methods, profile),
        *results.successes(outcomes, methods),
        *results.lossy_completions(outcomes, methods),
        results.best_within(outcomes, methods),
    )
    rival = (
        ""
        if any(method.like for method in methods)
        else (" The checkpoint's profile has no points of BottleNet++: it is left out.")
    )
    heading = (
        f"Seeds {', '.join(map(str, settings.seeds))}, phases of {settings.phase_s:g} s. Each method is a device with "
        f"an edge of its own, and does one job after the other (LoadGen's single stream), all at the same time over "
        f"emulated links that change together. Intervals are 95 %, over the repetitions.{rival}"
    )
    return Report("Poor channels", heading, shown, rest)


def _runs(frames: Sequence[tuple[Done, pd.DataFrame]]) -> Table:
    """What the experiment rests on."""
    rows = []
    for one, jobs in frames:
        unanswered = int((~jobs["outcome"].isin(["on_time", "late"])).sum())
        summary = one.run.summary
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
