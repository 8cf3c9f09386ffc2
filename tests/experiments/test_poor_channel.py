"""The experiment on poor channels: its files, what is read from ledgers, and what is made of that."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
import yaml

from testbed import api
from testbed.aecnn.checkpoint import checkpoint_path, load_checkpoint, load_profile
from testbed.documents.loading import load_topology, load_workload
from testbed.documents.resolve import resolve
from testbed.experiments.findings import FAILS, HOLDS, UNDECIDED
from testbed.experiments.paired import Interval
from testbed.experiments.poor_channel import documents
from testbed.experiments.poor_channel.claims import claims
from testbed.experiments.poor_channel.crossovers import crossover, earlier_between
from testbed.experiments.poor_channel.experiment import reproduce
from testbed.experiments.poor_channel.methods import Method, compared
from testbed.experiments.poor_channel.outcomes import Outcomes, read
from testbed.experiments.poor_channel.results import best_within, in_percent, in_rates
from testbed.experiments.poor_channel.settings import PARTS, RATE, SETTLE_S, Part, Phase, Settings
from testbed.jobs.decision import JPEG, LOCAL, RAW, Kind, OperatingPoint, Option
from testbed.jobs.ledger import STAGES
from testbed.jobs.profile import Profile
from testbed.workload.inputs import check_policies

PHASE_S = 4.0
OURS = Method("AECNN 256x after layer3", Option(Kind.SPLIT, "aecnn", OperatingPoint("layer3", 16, 4)), 256)
LIKE = msgspec.structs.replace(OURS, name="BottleNet++ like 256x after layer3", like=OURS.name)
METHODS = [Method("local", LOCAL), Method("full, raw", RAW), Method("full, JPEG", JPEG), OURS, LIKE]
RATES = (10.0, 1.0, 0.1)
PART = Part("rates", tuple(Phase(RATE, rate, rate, 0.0) for rate in RATES))


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile(checkpoint_path("default"), load_checkpoint("default").sha256)


def ledger(completion_ms: Callable[[str, float], float], right: dict[str, float] | None = None) -> pd.DataFrame:
    """Jobs one after the other, each taking what its method takes at its phase's rate."""
    rows = []
    for device, method in documents.devices(METHODS).items():
        draw, now_s = np.random.default_rng(0), 0.0
        while now_s < PHASE_S * len(RATES):
            takes_ms = completion_ms(method.name, RATES[int(now_s / PHASE_S)])
            rows.append((device, now_s, takes_ms, "late", draw.random() < (right or {}).get(method.name, 0.9), 100))
            now_s += takes_ms / 1e3
    rows.append(("dev1", 0.3, None, "failed", None, 0))
    columns = ["device", "arrival_s", "completion_ms", "outcome", "correct", "payload_bytes"]
    return pd.DataFrame(rows, columns=columns).assign(**{f"{stage}_ms": 0.0 for stage in STAGES})


def by_bytes(name: str, rate_mbps: float) -> float:
    """What a job takes, about."""
    computing_ms, sent_bytes = {
        "local": (140, 0),
        "full, raw": (4, 49_000),
        "full, JPEG": (10, 5_000),
        OURS.name: (117, 400),
        LIKE.name: (117, 410),
    }[name]
    return computing_ms + (10 if sent_bytes else 0) + sent_bytes * 8 / rate_mbps / 1e3


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    return Outcomes(tuple(row for seed in (1, 2, 3) for row in read(ledger(by_bytes), METHODS, PART, PHASE_S, seed)))


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_the_files_are_right_and_every_device_has_its_method(part: Part, profile: Profile, tmp_path: Path) -> None:
    methods = compared(profile)
    for name, document in (
        ("topology", documents.topology(methods, part)),
        ("workload", documents.workload(methods, part, "default", PHASE_S, 1)),
    ):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(document))
    topology = resolve(load_topology(tmp_path / "topology.yaml"))
    workload = load_workload(tmp_path / "workload.yaml", topology)
    check_policies(workload, topology, profile, 1)
    assert len(topology.devices) == len(topology.edges) == len(methods) == len({method.name for method in methods})
    assert workload.duration_s == PHASE_S * len(part.phases)
    assert {"local", "full, raw", "full, JPEG", OURS.name} <= {method.name for method in methods}


def test_a_run_that_was_cut_short_is_run_again(profile: Profile, tmp_path: Path) -> None:
    runs = []

    def simulate(workload: Path, topology: Path, folder: Path) -> None:
        runs.append(folder)
        document = yaml.safe_load(workload.read_text())
        if len(runs) == 1:
            document |= {"duration": "3 s", "events": document["events"][:2]}
        (folder / "run.yaml").write_text(yaml.safe_dump(document))
        api.simulate(api.read_topology(topology), api.read_workload(folder / "run.yaml"), output=folder)
        if len(runs) == 1:
            raise KeyboardInterrupt

    def tried() -> None:
        reproduce(profile, "default", Settings((1,), 1.0), tmp_path, simulate, None, lambda step: None)

    with pytest.raises(KeyboardInterrupt):
        tried()
    tried()
    assert runs[0] == runs[1] and len(runs) == 1 + len(PARTS)
    rows = csv.DictReader((tmp_path / "outcomes.csv").open())
    assert [int(row["jobs"]) > 0 for row in rows if (row["method"], row["value"]) == ("local", "0.1")] == [True] * 3


def test_it_is_run_once_and_reported(profile: Profile, tmp_path: Path) -> None:
    runs = []

    def simulate(workload: Path, topology: Path, folder: Path) -> None:
        runs.append(folder)
        api.simulate(api.read_topology(topology), api.read_workload(workload), output=folder)

    for _ in range(2):
        made = reproduce(profile, "default", Settings((1,), 1.0), tmp_path, simulate, None, lambda step: None)
    assert len(runs) == len(PARTS)  # what is done is not done again
    text = made.path.read_text()
    assert "Where AECNN finishes earlier" in text and text.count("VALID") == len(PARTS)
    assert all(f"]({path.name})" in text for path in tmp_path.glob("*.svg")) and len(list(tmp_path.glob("*.svg"))) == 3
    rows = list(csv.DictReader((tmp_path / "outcomes.csv").open()))
    (raw,) = [row for row in rows if (row["sweep"], row["value"], row["method"]) == (RATE, "10", "full, raw")]
    sent_ms = profile.by_option[RAW].payload_mean * 8 / 10e6 * 1e3
    assert sent_ms < float(raw["median_ms"]) < 2 * sent_ms and int(raw["jobs"]) > 5


def test_what_was_emulated_is_reported_beside_what_the_model_makes_of_it(profile: Profile, tmp_path: Path) -> None:
    def simulate(workload: Path, topology: Path, folder: Path) -> None:
        api.simulate(api.read_topology(topology), api.read_workload(workload), output=folder)

    def slower(workload: Path, topology: Path, folder: Path) -> None:
        """In place of the emulated network: the model with half of the devices' speed."""
        text = topology.read_text().replace("gflops: 5.0", "gflops: 2.5")
        (folder / "slower.yaml").write_text(text)
        simulate(workload, folder / "slower.yaml", folder)

    made = reproduce(profile, "default", Settings((1,), 1.0), tmp_path, simulate, slower, lambda step: None)
    tables = {table.title: table for table in made.report.shown}
    (over_rates,) = [table for title, table in tables.items() if "over the uplink rate: median completion" in title]
    (local,) = [row for row in over_rates.rows if row[0] == "local"]
    assert local[1] == "-49.9 / +100.0"  # 280 and 140 ms and what software takes, of which one is within 200 ms
    for title, table in tables.items():
        if "stage by stage" in title:
            (local,) = [row for row in table.rows if row[0] == "local"]
            by_stage = dict(zip(table.headings[1:], map(float, local[1:]), strict=True))
            assert by_stage.pop("head") == pytest.approx(-140, abs=0.5) and set(by_stage.values()) == {0}


def test_only_jobs_whose_whole_life_fell_into_a_phase_count(outcomes: Outcomes) -> None:
    for row in outcomes.rows:
        takes_ms = by_bytes(row.method, row.value)
        assert row.completion_ms == pytest.approx(np.full(row.jobs, takes_ms))
        assert row.jobs <= (PHASE_S - SETTLE_S) * 1e3 / takes_ms
        assert row.jobs >= (PHASE_S - SETTLE_S) * 1e3 / takes_ms - 3
    assert outcomes.interval(RATE, 0.1, "full, raw", lambda row: row.median_ms) is None  # 3.9 s each: none fits


def test_crossovers_are_where_completion_times_are_equal(outcomes: Outcomes) -> None:
    jpeg = crossover(outcomes, OURS.name, "full, JPEG")
    assert jpeg is not None and jpeg.above is None and jpeg.below is not None
    assert 0.25 < jpeg.below.value < 0.45  # 5,000 bytes less 400 in 107 ms: 0.34 Mbit/s
    local = crossover(outcomes, OURS.name, "local")
    assert local is not None and local.below is None and local.above is not None
    assert 0.2 < local.above.value < 0.3
    assert in_rates(local).startswith("above 0.2")


@pytest.mark.parametrize(
    ("later", "between"),
    [
        ((-1.0, -1.0, -1.0), (0, math.inf)),
        ((1.0, 1.0, 1.0), (math.inf, 0)),
        ((-2.0, 1.0, 3.0), (0, 1.5)),
        ((3.0, 1.0, -1.0), (8 / 3, math.inf)),
        ((1.0, -1.0, 1.0), (4 / 3, 8 / 3)),
    ],
)
def test_a_method_is_earlier_between_zeros(later: tuple[float, ...], between: tuple[float, float]) -> None:
    assert earlier_between((1.0, 2.0, 4.0), later) == pytest.approx(between)


def test_claims_follow_the_figures(outcomes: Outcomes) -> None:
    crossings = [one for other in ("full, raw", "full, JPEG") if (one := crossover(outcomes, OURS.name, other))]
    found = {finding.claim: finding for finding in claims(outcomes, METHODS, crossings)}
    assert found["AECNN 256x finishes earlier than full, JPEG offloading on a poor channel"].verdict == HOLDS
    assert found[f"{OURS.name} gains over full, JPEG offloading as the channel gets poorer"].verdict == HOLDS
    assert found[f"{OURS.name} is more accurate than BottleNet++ at the same bytes"].verdict == UNDECIDED

    slow = ledger(lambda name, rate: 5 * by_bytes(name, rate) if name == OURS.name else by_bytes(name, rate))
    worse = Outcomes(tuple(row for seed in (1, 2, 3) for row in read(slow, METHODS, PART, PHASE_S, seed)))
    found = {finding.claim: finding for finding in claims(worse, METHODS, [])}
    assert found["AECNN 256x finishes earlier than full, JPEG offloading on a poor channel"].verdict == FAILS


def test_the_best_ratio_is_of_what_answers_in_time(outcomes: Outcomes) -> None:
    table = best_within(outcomes, METHODS)
    cells = {row[0]: dict(zip(table.headings[1:], row[1:], strict=True)) for row in table.rows}
    assert cells["10 Mbit/s"]["100 ms"] == "-"  # computing alone takes longer
    assert cells["10 Mbit/s"]["150 ms"].startswith("256x after layer3: ")
    assert cells["0.1 Mbit/s"]["150 ms"] == "-"


def test_a_shares_interval_ends_where_shares_do() -> None:
    assert in_percent(Interval(82.3, 48.7, 115.9)) == "82.3 (48.7 to 100.0)"
    assert in_percent(Interval(3.0, -2.0, 8.0)) == "3.0 (0.0 to 8.0)"
    assert in_percent(Interval(3.0, -math.inf, math.inf)) == "3.0"
