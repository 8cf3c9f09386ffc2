"""What differs between two runs: found where it is, not where it is not, and weighed as the tests' inventors say."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from testbed.cli.main import app
from testbed.jobs.decision import LOCAL, Decision
from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.reporting.difference import difference
from testbed.reporting.statistics import adjusted, compared_shares, compared_values, disagreement_p
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.summary import summarise

Store = Callable[..., StoredRun]

MANIFEST: dict[str, Any] = {
    "topology": {"links": [{"a": "dev1", "b": "ap1", "up": {"bandwidth_bps": 1e6}}]},
    "workload": {"offloading": {"policy": ["greedy", "full"]}, "deadline_s": "200 ms"},
    "policy": {"name": "greedy", "options": {}},
    "seed": 1,
    "shaping": "relay",
    "versions": {"ray": "2.60.0"},
    "overruns": 3,
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    def stored(rows: Sequence[LedgerRow], manifest: dict[str, Any] = MANIFEST) -> StoredRun:
        run = StoredRun.create(tmp_path, "workload", "greedy")
        run.write_manifest(manifest)
        run.append(rows)
        run.finish(manifest, {}, summarise("greedy", rows, issued=len(rows), duration_s=10.0))
        return run

    return stored


def test_a_run_does_not_differ_from_itself(mixed: Callable[[int, int], list[LedgerRow]], store: Store) -> None:
    rows = mixed(300, 1)
    found = difference(store(rows), store(rows))
    assert not found.configuration and not found.environment
    assert found.paired is not None and found.paired.same_decision == found.paired.jobs == 300
    assert found.paired.same_prediction == found.paired.predicted and found.paired.p is None
    for one in (*found.shares, *found.distributions, *found.stages):
        assert one.a == one.b and one.p == 1 and one.effect == pytest.approx(0) and one.change == 0


def test_what_was_chosen_and_what_was_found_are_told_apart(answering: Callable[..., LedgerRow], store: Store) -> None:
    other = msgspec.json.decode(msgspec.json.encode(MANIFEST))
    other["topology"]["links"][0]["up"]["bandwidth_bps"] = 2e6
    other["workload"]["offloading"]["policy"] = "greedy"
    other["versions"]["ray"], other["shaping"], other["overruns"] = "2.61.0", "netem", 7
    found = difference(store([answering(0)]), store([answering(0)], other))
    assert [(one.name, one.a, one.b) for one in found.configuration] == [
        ("topology.links.dev1-ap1.up.bandwidth_bps", 1e6, 2e6)
    ]
    assert [(one.name, one.a, one.b) for one in found.environment] == [
        ("shaping", "relay", "netem"),
        ("versions.ray", "2.60.0", "2.61.0"),
    ]


def test_a_slower_stage_is_found_in_its_stage_alone(answering: Callable[..., LedgerRow], store: Store) -> None:
    draw = random.Random(1)
    rows = [answering(number, stage_ms=draw.uniform(9, 11)) for number in range(200)]
    slower = [msgspec.structs.replace(row, uplink_ms=row.uplink_ms * 1.2) for row in rows]
    found = {one.name: one for one in difference(store(rows), store(slower)).stages}
    assert found["uplink_ms"].change == pytest.approx(0.2, abs=0.01)
    assert found["uplink_ms"].p < 1e-6 and found["uplink_ms"].effect > 0.95 and found["uplink_ms"].distance > 0.9
    assert all(one.p == 1 and one.effect == 0 for name, one in found.items() if name != "uplink_ms")


def test_other_decisions_and_outcomes_are_counted_pair_by_pair(
    answering: Callable[..., LedgerRow], not_answering: Callable[..., LedgerRow], store: Store
) -> None:
    a = [answering(number) for number in range(20)]
    b = [
        *(answering(number, decision=Decision(LOCAL), payload=0) for number in range(5)),
        *(not_answering(number, Outcome.FAILED) for number in range(5, 15)),
        *a[15:],
    ]
    found = difference(store(a), store(b))
    assert found.paired is not None
    assert (found.paired.same_decision, found.paired.only_a_on_time, found.paired.only_b_on_time) == (15, 10, 0)
    assert found.paired.p == pytest.approx(2 * 0.5**10)
    on_time = found.shares[0]
    assert (on_time.a, on_time.b, on_time.change) == (1.0, 0.5, -0.5) and on_time.p < 0.01
    decisions = {one.decision: (one.success.n_a, one.success.n_b) for one in found.decisions}
    assert decisions == {"split aecnn layer3/k16/b4": (20, 15), "local": (0, 5)}


def test_runs_of_other_jobs_are_not_paired(answering: Callable[..., LedgerRow], store: Store) -> None:
    rows = [answering(number) for number in range(5)]
    late = [answering(number, arrival_s=0.1 * number + 0.05) for number in range(5)]
    assert difference(store(rows), store(late)).paired is None
    assert difference(store(rows), store(rows[:4])).paired is None


def test_the_statistics_are_those_of_the_books() -> None:
    # Newcombe (1998), table II, (a): 56/70 and 48/80, method 10: 0.0524 to 0.3339
    found = compared_shares("x", 48, 80, 56, 70)
    assert found.change == pytest.approx(0.2) and found.interval == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert found.effect == pytest.approx(0.4421, abs=1e-3)  # 2 asin sqrt 0.8 - 2 asin sqrt 0.6
    assert compared_shares("x", 1, 10, 9, 10).p == pytest.approx(0.0010932, rel=1e-3)  # Fisher's
    # of 3 x 3 pairs, b is larger in 7, smaller in 1, equal in 1
    assert compared_values("x", [1, 2, 4], [3, 4, 5]).effect == pytest.approx((7 - 1) / 9)
    assert compared_values("x", [1, 2, 4], [3, 4, 5]).distance == pytest.approx(2 / 3)
    assert compared_values("x", [5.0] * 10, [5.0] * 12).p == 1.0
    assert compared_values("x", [], [1.0]).p is None
    assert disagreement_p(0, 0) is None and disagreement_p(5, 0) == pytest.approx(0.0625)


def test_p_is_adjusted_by_holms_steps() -> None:
    one = compared_values("x", [1.0], [2.0])
    compared = [msgspec.structs.replace(one, p=p) for p in (0.01, 0.04, 0.03, 0.005)]
    assert [one.p for one in adjusted(compared)] == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_command_prints_tables_or_json(mixed: Callable[[int, int], list[LedgerRow]], store: Store) -> None:
    a, b = store(mixed(100, 1)), store(mixed(100, 2))
    told = CliRunner().invoke(app, ["diff", str(a.path), str(b.path)])
    assert told.exit_code == 0 and "uplink_ms" in told.output and "split aecnn layer3/k16/b4" in told.output
    asked = CliRunner().invoke(app, ["diff", str(a.path), str(b.path), "--json"])
    assert len(json.loads(asked.output)["stages"]) == 9
    assert CliRunner().invoke(app, ["diff", str(a.path), str(a.path.parent)]).exit_code == 2


def test_a_run_cut_short_can_be_compared(answering: Callable[..., LedgerRow], store: Store, tmp_path: Path) -> None:
    rows = [answering(number) for number in range(20)]
    whole = store(rows)
    cut = StoredRun.create(tmp_path, "workload", "greedy")
    cut.append(rows[:7])
    found = difference(whole, StoredRun(cut.path))
    assert found.verdict_b == "INVALID" and found.paired is None and found.shares[0].n_b == 7
