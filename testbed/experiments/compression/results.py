"""The tables of the experiment, from what was computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from testbed.aecnn.outcomes import REFERENCE
from testbed.experiments.compression.claims import in_points, loss, percent, seeds_in_words, whole
from testbed.experiments.compression.convergence import convergences
from testbed.experiments.compression.equal_bytes import BUDGETS, budgets_between, compare
from testbed.experiments.compression.latency import (
    TABLE_BANDWIDTHS_BPS,
    TABLE_LIMITS_S,
    best_within,
    without_rivals,
)
from testbed.experiments.compression.shipped import Evaluated
from testbed.experiments.compression.stability import stabilities
from testbed.experiments.compression.studies import NAMES, SANITY, Point, Studies
from testbed.experiments.paired import bootstrap
from testbed.experiments.tables import Table
from testbed.jobs.decision import SPLITS
from testbed.jobs.intervals import wilson_interval
from testbed.jobs.profile import Profile, ProfileRow

NONE = ""


def operating_points(studies: Studies, points: Sequence[Point], title: str) -> Table:
    """What points send, and what they are worth."""
    headings = (
        "method",
        "point",
        "nominal",
        "measured",
        "bytes",
        "p95",
        "accuracy % (95 %)",
        "seeds %",
        "loss, points (95 %)",
        "encoder",
    )
    known = len(headings) if any(point.encoder_flops for point in points) else len(headings) - 1
    return Table(
        title,
        headings[:known],
        tuple(_point_row(studies, point)[:known] for point in sorted(points, key=_place)),
        names=2,
        note=(
            f"Means over {seeds_in_words(len(studies.seeds))} and {studies.photographs} photographs. Ratios are "
            "against the split's features in float32; measured: by the bytes sent, header included. Accuracy has its "
            "Wilson interval over the photographs and the least and greatest of the seeds; the loss is against the "
            "same seed's uncompressed network, photograph by photograph."
            + (" Encoder: its FLOPs over the head's." if known == len(headings) else "")
        ),
    )


def at_equal_bytes(studies: Studies) -> list[Table]:
    """AECNN as shipped against each rival at each budget: whatever the split, then both after the same stage."""
    ours = studies.of("aecnn", variant="")
    rivals = [method for method in NAMES if method not in ("", "aecnn") and studies.of(method)]
    pairs = [(NAMES[rival], ours, studies.of(rival)) for rival in rivals if rival not in SANITY]
    pairs += [
        (f"{NAMES[rival]}, both after {split}", studies.of("aecnn", split=split, variant=""), theirs)
        for rival in rivals
        for split in SPLITS
        if (theirs := studies.of(rival, split=split)) and studies.of("aecnn", split=split, variant="")
    ]
    rows = []
    for name, one, other in pairs:
        compared = compare(one, other, BUDGETS)
        if compared is None:
            rows.append((name, NONE, NONE, NONE, NONE, NONE, "no bytes in common"))
            continue
        for at in compared.distinct:
            verdict = "above" if at.above else "below" if at.below else "within error"
            cells = (whole(at.budget), whole(at.bytes_of_first), whole(at.bytes_of_second))
            accuracies = (f"{100 * at.accuracy_of_first:.1f}", f"{100 * at.accuracy_of_second:.1f}")
            standing = verdict if at.within_budget else "no point so small"
            rows.append((name, *cells, *accuracies, f"{in_points(at.difference)}, {standing}"))
    headings = (
        "against",
        "budget",
        "AECNN's bytes",
        "rival's bytes",
        "AECNN %",
        "rival %",
        "difference, points (95 %)",
    )
    note = (
        "Answers are interpolated in log bytes between measured points and never beyond them: where a method has no "
        "point for the budget, it has the bytes that are given, and AECNN never more than the rival. DeepJSCC's are "
        "the bytes that its channel could carry in the time that its samples take."
    )
    return [Table("At equal measured bytes", headings, tuple(rows), note=note)] if rows else []


def ablations(studies: Studies) -> list[Table]:
    """AECNN with one thing changed, against the reference, or what is shipped where there is no reference."""
    reference = studies.of("aecnn", variant=REFERENCE) or studies.of("aecnn", variant="")
    at_option = {point.option: point for point in reference}
    changed = [point for point in studies.of("aecnn") if point.variant not in ("", REFERENCE)]
    rows = []
    for point in sorted(changed, key=_place):
        same = at_option.get(point.option)
        bytes_of_same, at_point = NONE, NONE
        if same is not None and (seeds := same.seeds & point.seeds).any():
            bytes_of_same = whole(same.mean_bytes)
            at_point = in_points(bootstrap(same.right[seeds] - point.right[seeds]))
        ours = [one for one in reference if one.split == point.split]
        theirs = [one for one in changed if (one.split, one.variant) == (point.split, point.variant)]
        at_bytes = compare(ours, theirs, budgets_between(ours, theirs)) if ours else None
        rows.append(
            (
                point.variant,
                point.label,
                f"{100 * point.accuracy:.1f}",
                at_point,
                whole(point.mean_bytes),
                bytes_of_same,
                in_points(at_bytes.mean) if at_bytes else NONE,
                str(int(point.seeds.sum())),
            )
        )
    headings = (
        "changed",
        "point",
        "accuracy %",
        "worth, points (95 %)",
        "bytes",
        "reference's",
        "worth at equal bytes",
        "seeds",
    )
    note = (
        "Worth: accuracy of the reference less that of what was changed, at the same operating point and, over all "
        "points of the split, at equal measured bytes; positive: the choice made is the better one. The reference is "
        "AECNN "
    )
    note += "trained as long as these." if reference and reference[0].variant else "as shipped."
    return [Table("What each choice is worth", headings, tuple(rows), names=2, note=note)] if rows else []


def convergence(studies: Studies) -> list[Table]:
    """Step by step against end to end."""
    rows = tuple(
        (
            one.what,
            in_points(one.lead),
            in_points(one.lead_at_end),
            f"{one.passes_step_by_step:.1f}",
            f"{one.passes_end_to_end:.1f}",
            str(one.seeds),
        )
        for one in convergences(studies.curves)
    )
    headings = (
        "trained",
        "lead over the passes, points (95 %)",
        "after the last",
        "passes, step by step",
        "end to end",
        "seeds",
    )
    note = (
        "Lead: accuracy of step by step less that of end to end on the validation photographs, at equal passes; "
        "interval over the seeds. Passes: until within a point of the lower of the two ends."
    )
    return [Table("Step by step against end to end", headings, rows, note=note)] if rows else []


def stability(studies: Studies) -> list[Table]:
    """How stable rankings of the channels are."""
    lengths = kept_channels(studies)
    rows = []
    for one in stabilities(studies.rankings, lengths):
        overlaps = ", ".join(
            f"{k}: {100 * share:.0f} ({100 * k / one.channels:.0f})"
            for k, share in one.overlaps.items()
            if share is not None
        )
        rows.append(
            (
                one.split,
                one.by,
                _number(one.with_classes),
                _number(one.least_class),
                overlaps,
                _number(one.between_seeds),
                _number(one.with_attention),
                f"{one.spread:.2f}",
            )
        )
    headings = (
        "split",
        "ranking",
        "classes",
        "least class",
        "top k in common % (chance)",
        "seeds",
        "attention",
        "spread",
    )
    note = (
        "Spearman's correlation of each class's importances with those over all training photographs (mean, and the "
        "least of the classes), of two seeds', and of the ranking with that by attention. Top k in common: of each "
        "class's list with that over all, for the numbers of channels kept. Spread: 90th over 10th percentile of the "
        "importances."
    )
    return [Table("How stable the ranking of channels is", headings, tuple(rows), names=2, note=note)] if rows else []


def under_limits(profile: Profile) -> Table:
    """The most accurate option that is complete within a limit, over bandwidth."""
    candidates = without_rivals(profile)
    rows = []
    for bandwidth in TABLE_BANDWIDTHS_BPS:
        best = best_within(candidates, bandwidth, TABLE_LIMITS_S)
        rows.append((f"{bandwidth / 1e6:g} Mbit/s", *map(choice, best)))
    headings = ("bandwidth", *(f"{1e3 * limit:g} ms" for limit in TABLE_LIMITS_S))
    note = (
        "By the profile of the checkpoint: a device of 5 GFLOP/s, an edge of 200, both idle, a lossless link of 5 ms "
        "each way. Each cell: the most accurate option in time, its nominal ratio where it is a split, its accuracy."
    )
    return Table("Which ratio under which latency limit", headings, tuple(rows), note=note)


def evaluated_here(evaluated: Evaluated, profile: Profile) -> Table:
    """A shipped checkpoint's options over the shipped photographs, as evaluated now."""
    rows = []
    for option, right, sizes in zip(evaluated.options, evaluated.right, evaluated.payload_bytes, strict=True):
        low, high = wilson_interval(int(right.sum()), len(right))
        row = profile.by_option.get(option)
        rows.append(
            (
                str(option),
                whole(row.nominal_ratio) if row and row.nominal_ratio else NONE,
                whole(sizes.mean()),
                whole(np.percentile(sizes, 95)),
                f"{100 * right.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})",
            )
        )
    headings = ("option", "nominal", "bytes", "p95", "accuracy % (95 %)")
    note = f"Checkpoint {evaluated.checkpoint[:12]}, {len(evaluated.photographs)} photographs that it never saw."
    return Table("The shipped checkpoint, evaluated here", headings, tuple(rows), note=note)


def kept_channels(studies: Studies) -> dict[str, list[int]]:
    """How many channels AECNN keeps after each stage, as shipped."""
    found: dict[str, set[int]] = {}
    for point in studies.of("aecnn", variant=""):
        if point.option.point is not None:
            found.setdefault(point.option.point.split, set()).add(point.option.point.kept_channels)
    return {split: sorted(numbers) for split, numbers in found.items()}


def _point_row(studies: Studies, point: Point) -> tuple[str, ...]:
    low, high = wilson_interval(round(point.accuracy * studies.photographs), studies.photographs)
    of_seeds = 100 * point.right[point.seeds].mean(axis=1)
    measured = studies.measured_ratio(point)
    share = point.encoder_flops / point.head_flops if point.encoder_flops and point.head_flops else None
    uncompressed = point is studies.uncompressed
    return (
        ", ".join(filter(None, (point.name, point.variant))),
        NONE if uncompressed else point.label,
        whole(point.nominal_ratio) if point.nominal_ratio else NONE,
        whole(measured) if measured else NONE,
        whole(point.mean_bytes),
        whole(point.p95_bytes),
        f"{100 * point.accuracy:.1f} ({100 * low:.1f} to {100 * high:.1f})",
        f"{of_seeds.min():.1f} to {of_seeds.max():.1f}",
        NONE if uncompressed else in_points(loss(studies, point.right), ""),
        percent(share) if share is not None else NONE,
    )


def _place(point: Point) -> tuple[int, str, str, int, float]:
    """Where a point stands in tables: by method, variant, depth, bytes."""
    methods = list(NAMES)
    order = methods.index(point.method) if point.method in methods else len(methods)
    depth = SPLITS.index(point.split) if point.split in SPLITS else -1
    return order, point.method, point.variant, depth, point.mean_bytes


def choice(row: ProfileRow | None) -> str:
    """An option with its nominal ratio and accuracy; "none"."""
    if row is None:
        return "none"
    ratio = f" {whole(row.nominal_ratio)}x" if row.nominal_ratio else ""
    return f"{row.option.point or row.option}{ratio}, {percent(row.accuracy)}"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"
