"""What differs between two stored runs: configuration, environment, success, distributions, stages, decisions."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from testbed.jobs.ledger import STAGES, LedgerRow, Outcome
from testbed.reporting.statistics import Compared, adjusted, compared_shares, compared_values, disagreement_p
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.verdict import ANSWERED

CONFIGURED = ("topology", "workload", "policy", "seed")
"""What users choose of a manifest; what is neither this nor found out by the run is its environment."""
_FOUND_OUT = ("events", "overruns", "cpu_busy")
_OTHER_POLICIES = "workload.offloading.policy"  # which of them the run's is, `policy` says

_ELSEWHERE = ("uplink", "edge_wait", "decode", "tail", "downlink")
_SAME_JOB = ("device", "image", "job_class", "deadline_ms")


class Change(msgspec.Struct, frozen=True):
    """A value of the manifests that differs. Null in the one that does not have it."""

    name: str
    a: Any
    b: Any


class Paired(msgspec.Struct, frozen=True):
    """The same jobs in both runs: arrivals, photographs, deadlines."""

    jobs: int
    same_decision: int
    predicted: int  # with a prediction in both
    same_prediction: int
    only_a_on_time: int
    only_b_on_time: int
    p: float | None  # that as many are on time in both (McNemar, exact); null where the same jobs are


class Decided(msgspec.Struct, frozen=True):
    """The jobs of one decision. Null where a run has none."""

    decision: str
    success: Compared
    completion_ms: Compared


class Difference(msgspec.Struct, frozen=True):
    """Run `b` against run `a`."""

    a: str  # paths
    b: str
    verdict_a: str
    verdict_b: str
    configuration: tuple[Change, ...]
    environment: tuple[Change, ...]
    paired: Paired | None  # None: they are not of the same jobs
    shares: tuple[Compared, ...]  # of the jobs issued
    distributions: tuple[Compared, ...]  # over answered jobs, medians
    stages: tuple[Compared, ...]  # the same; those beyond the device over jobs that went there
    decisions: tuple[Decided, ...]


def difference(a: StoredRun, b: StoredRun) -> Difference:
    """Compares two runs, which may be of any workload, policy or shaping."""
    rows_a, rows_b = a.rows(), b.rows()
    manifest_a, manifest_b = a.manifest, b.manifest
    values = [
        *(_answered_values(rows_a, rows_b, name) for name in ("completion_ms", "payload_bytes", "wire_bytes")),
        *(_answered_values(rows_a, rows_b, f"{stage}_ms", away=stage in _ELSEWHERE) for stage in STAGES),
    ]
    shares = [
        _share(rows_a, rows_b, "on time", lambda row: row.outcome is Outcome.ON_TIME),
        _share(rows_a, rows_b, "on time and right", lambda row: row.outcome is Outcome.ON_TIME and bool(row.correct)),
        _share(rows_a, rows_b, "answered", lambda row: row.outcome in ANSWERED),
    ]
    tested = adjusted([*shares, *values])
    environment = sorted((manifest_a.keys() | manifest_b.keys()) - {*CONFIGURED, *_FOUND_OUT})
    return Difference(
        a=str(a.path),
        b=str(b.path),
        verdict_a=a.summary.verdict,
        verdict_b=b.summary.verdict,
        configuration=tuple(_changes(manifest_a, manifest_b, CONFIGURED)),
        environment=tuple(_changes(manifest_a, manifest_b, environment)),
        paired=_paired(rows_a, rows_b),
        shares=tuple(tested[: len(shares)]),
        distributions=tuple(tested[len(shares) : -len(STAGES)]),
        stages=tuple(tested[-len(STAGES) :]),
        decisions=tuple(_decisions(rows_a, rows_b)),
    )


def decision_of(row: LedgerRow) -> str:
    """A job's decision in words, its operating point included: `local`, `full jpeg`, `split aecnn layer3/k16/b4`."""
    point = f"{row.split}/k{row.kept_channels}/b{row.bits}" if row.split else ""
    return " ".join(filter(None, (row.decision or "none", row.encoding, point)))


def _share(
    rows_a: Sequence[LedgerRow], rows_b: Sequence[LedgerRow], name: str, holds: collections.abc.Callable[..., bool]
) -> Compared:
    return compared_shares(name, sum(map(holds, rows_a)), len(rows_a), sum(map(holds, rows_b)), len(rows_b))


def _answered_values(
    rows_a: Iterable[LedgerRow], rows_b: Iterable[LedgerRow], column: str, *, away: bool = False
) -> Compared:
    a, b = (
        [
            float(value)
            for row in rows
            if row.outcome in ANSWERED and (row.edge is not None or not away)
            if (value := getattr(row, column)) is not None
        ]
        for rows in (rows_a, rows_b)
    )
    return compared_values(column, a, b)


def _paired(rows_a: Sequence[LedgerRow], rows_b: Sequence[LedgerRow]) -> Paired | None:
    of_b = {row.job_id: row for row in rows_b}
    pairs = [(row, of_b[row.job_id]) for row in rows_a if row.job_id in of_b]
    if len(pairs) < max(len(rows_a), len(rows_b)) or not all(_same_job(one, other) for one, other in pairs):
        return None
    both = [(one, other) for one, other in pairs if one.predicted is not None and other.predicted is not None]
    on_time = [(one.outcome is Outcome.ON_TIME, other.outcome is Outcome.ON_TIME) for one, other in pairs]
    only_a, only_b = on_time.count((True, False)), on_time.count((False, True))
    return Paired(
        jobs=len(pairs),
        same_decision=sum(decision_of(one) == decision_of(other) and one.edge == other.edge for one, other in pairs),
        predicted=len(both),
        same_prediction=sum(one.predicted == other.predicted for one, other in both),
        only_a_on_time=only_a,
        only_b_on_time=only_b,
        p=disagreement_p(only_a, only_b),
    )


def _same_job(one: LedgerRow, other: LedgerRow) -> bool:
    return abs(one.arrival_s - other.arrival_s) < 1e-9 and all(
        getattr(one, name) == getattr(other, name) for name in _SAME_JOB
    )


def _decisions(rows_a: Iterable[LedgerRow], rows_b: Iterable[LedgerRow]) -> Iterable[Decided]:
    found: dict[str, tuple[list[LedgerRow], list[LedgerRow]]] = collections.defaultdict(lambda: ([], []))
    for place, rows in enumerate((rows_a, rows_b)):
        for row in rows:
            found[decision_of(row)][place].append(row)
    for decision, (a, b) in sorted(found.items(), key=lambda one: -len(one[1][0]) - len(one[1][1])):
        success = _share(a, b, "on time", lambda row: row.outcome is Outcome.ON_TIME)
        yield Decided(decision, success, _answered_values(a, b, "completion_ms"))


def _changes(a: Mapping[str, Any], b: Mapping[str, Any], names: Iterable[str]) -> Iterable[Change]:
    flat_a, flat_b = (dict(_flat({name: one.get(name) for name in names})) for one in (a, b))
    for name in sorted(flat_a.keys() | flat_b.keys()):
        if flat_a.get(name) != flat_b.get(name) and not name.startswith(_OTHER_POLICIES):
            yield Change(name, flat_a.get(name), flat_b.get(name))


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    """Every value of a manifest with its place; a list of links by its links' nodes."""
    if isinstance(value, Mapping):
        pairs: Iterable[tuple[str, Any]] = value.items()
    elif isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value):
        pairs = ((_named(one, place), one) for place, one in enumerate(value))
    else:
        yield name, value
        return
    for key, one in pairs:
        yield from _flat(one, f"{name}.{key}" if name else str(key))


def _named(one: Any, place: int) -> str:
    return f"{one['a']}-{one['b']}" if isinstance(one, Mapping) and {"a", "b"} <= one.keys() else str(place + 1)
