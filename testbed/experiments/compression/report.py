"""The report of the experiment: a folder with the tables, the figures and every outcome."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import numpy as np

from testbed.experiments.compression import results
from testbed.experiments.compression.claims import claims, goals, whole
from testbed.experiments.compression.shipped import Agreement, Evaluated
from testbed.experiments.compression.studies import Studies
from testbed.experiments.tables import Table
from testbed.jobs.decision import Kind, Option
from testbed.jobs.intervals import wilson_interval
from testbed.jobs.profile import Profile
from testbed.reporting.ownership import give_to_caller, make_folders

COLUMNS = (
    "seed",
    "method",
    "variant",
    "encoding",
    "split",
    "kept_channels",
    "bits",
    "nominal_ratio",
    "measured_ratio",
    "photographs",
    "right",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "payload_mean",
    "payload_p95",
    "encoder_flops",
    "head_flops",
)
"""Of `outcomes.csv`: a row for every option, variant and seed. The interval is Wilson's, 95 %."""


class Report(msgspec.Struct, frozen=True):
    """What the experiment says, in tables: first what the terminal shows, then the rest."""

    heading: str
    shown: tuple[Table, ...]
    rest: tuple[Table, ...]


def report(studies: Studies, profile: Profile, evaluated: Evaluated | None, agreement: Agreement | None) -> Report:
    """All tables; `evaluated` and `agreement` where what is shipped was evaluated."""
    seeds = ", ".join(map(str, studies.seeds))
    heading = (
        f"Seeds {seeds}, {studies.photographs} test photographs that were never trained on, the same for all. "
        f"A photograph has {3 * profile.input_px**2:,} bytes raw{_jpeg_bytes(profile)}. Intervals are 95 %."
    )
    if evaluated is not None:
        said = agreement.in_words() if agreement else "is of none of the committed studies, and compared with none"
        heading += f"\n\nThe shipped checkpoint, evaluated here, {said}."
    as_shipped = [point for point in studies.points if not (point.method == "aecnn" and point.variant)]
    others = [point for point in studies.points if point not in as_shipped]
    shown = [
        results.operating_points(studies, as_shipped, "Operating points"),
        results.verdicts("Claims of the paper", claims(studies)),
        results.verdicts("Goals of this project", goals(studies)),
    ]
    rest = [
        *results.at_equal_bytes(studies),
        *results.ablations(studies),
        *results.convergence(studies),
        *results.stability(studies),
        results.under_limits(profile),
        *([results.operating_points(studies, others, "Operating points of the ablations")] if others else []),
        *([results.evaluated_here(evaluated, profile)] if evaluated is not None else []),
    ]
    return Report(heading, tuple(shown), tuple(rest))


def write(made: Report, studies: Studies, profile: Profile, folder: Path) -> Path:
    """Write `report.md`, `outcomes.csv` and the figures; returns the path of the report."""
    from testbed.experiments.compression.figures import draw

    make_folders(folder)
    figures = draw(studies, profile, folder)
    path = folder / "report.md"
    images = "\n".join(f"![{caption}]({name})\n\n*{caption}.*\n" for name, caption in figures)
    tables = "\n".join(table.markdown() for table in (*made.shown[1:], made.shown[0], *made.rest))
    path.write_text(f"# Compression\n\n{made.heading}\n\n{tables}\n## Figures\n\n{images}", encoding="utf-8")
    write_outcomes(studies, folder / "outcomes.csv")
    for name in ("report.md", "outcomes.csv", *(name for name, _ in figures)):
        give_to_caller(folder / name)
    return path


def write_outcomes(studies: Studies, path: Path) -> None:
    """Every outcome as a row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for place, seed in enumerate(studies.seeds):
            for point in studies.points:
                if point.seeds[place]:
                    right, sizes = int(point.right[place].sum()), point.payload_bytes[place]
                    at = point.option.point
                    tensor = studies.tensor_bytes(at.split) if at else None
                    writer.writerow(
                        (
                            seed,
                            point.name,
                            point.variant,
                            point.option.encoding,
                            at.split if at else "",
                            at.kept_channels if at else "",
                            at.bits if at else "",
                            _or_nothing(point.nominal_ratio),
                            _or_nothing(tensor / sizes.mean() if tensor else None),
                            studies.photographs,
                            right,
                            right / studies.photographs,
                            *wilson_interval(right, studies.photographs),
                            sizes.mean(),
                            np.percentile(sizes, 95),
                            _or_nothing(point.encoder_flops),
                            _or_nothing(point.head_flops),
                        )
                    )


def _jpeg_bytes(profile: Profile) -> str:
    row = profile.by_option.get(Option(Kind.FULL, "jpeg"))
    return f", {whole(row.payload_mean)} as the JPEG that a device has" if row else ""


def _or_nothing(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.10g}"
