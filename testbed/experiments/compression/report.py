"""What the experiment reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from testbed.experiments.compression import results
from testbed.experiments.compression.claims import claims, goals, whole
from testbed.experiments.compression.shipped import Agreement, Evaluated
from testbed.experiments.compression.studies import Studies
from testbed.experiments.findings import verdicts
from testbed.experiments.report import Report
from testbed.experiments.report import write as write_report
from testbed.jobs.decision import Kind, Option
from testbed.jobs.intervals import wilson_interval
from testbed.jobs.profile import Profile
from testbed.reporting.ownership import make_folders

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
        verdicts("Claims of the paper", claims(studies)),
        verdicts("Goals of this project", goals(studies)),
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
    return Report("Compression", heading, tuple(shown), tuple(rest))


def write(made: Report, studies: Studies, profile: Profile, folder: Path) -> Path:
    """Write the report with its figures; returns its path."""
    from testbed.experiments.compression.figures import draw

    make_folders(folder)
    return write_report(made, draw(studies, profile, folder), COLUMNS, outcomes(studies), folder)


def outcomes(studies: Studies) -> Iterator[Sequence[object]]:
    """A row of `COLUMNS` for every option, variant and seed."""
    for place, seed in enumerate(studies.seeds):
        for point in studies.points:
            if point.seeds[place]:
                right, sizes = int(point.right[place].sum()), point.payload_bytes[place]
                at = point.option.point
                tensor = studies.tensor_bytes(at.split) if at else None
                yield (
                    seed,
                    point.name,
                    point.variant,
                    point.option.encoding,
                    *((at.split, at.kept_channels, at.bits) if at else (None, None, None)),
                    point.nominal_ratio,
                    tensor / float(sizes.mean()) if tensor else None,
                    studies.photographs,
                    right,
                    right / studies.photographs,
                    *wilson_interval(right, studies.photographs),
                    float(sizes.mean()),
                    float(np.percentile(sizes, 95)),
                    point.encoder_flops,
                    point.head_flops,
                )


def _jpeg_bytes(profile: Profile) -> str:
    row = profile.by_option.get(Option(Kind.FULL, "jpeg"))
    return f", {whole(row.payload_mean)} as the JPEG that a device has" if row else ""
