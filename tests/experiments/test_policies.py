"""The experiment on policies, small, and what it concludes."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from testbed.aecnn.checkpoint import checkpoint_path, profile_path
from testbed.experiments.policies import experiment, work
from testbed.experiments.policies.claims import claims, goals
from testbed.experiments.policies.judging import Judged
from testbed.experiments.policies.methods import METHODS, OURS, encodings_of, reduced
from testbed.experiments.policies.outcomes import AT_DEFAULTS, AT_OPTIMUM, EXHAUSTIVE, Outcome, Outcomes
from testbed.experiments.policies.settings import DEFAULTS, DEVICES, Settings, whole
from testbed.experiments.policies.work import Judging, Training
from testbed.jobs.decision import Kind
from testbed.jobs.profile import Profile
from testbed.offloading.actors import load_actor
from testbed.offloading.scenario import Scenario
from testbed.offloading.slot_baselines import EXHAUSTIVE_LIMIT

TINY = Settings((1, 2), 10, 2, (5,), {DEVICES: (5.0,)}, droo_sizes=True)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return msgspec.json.decode(profile_path(checkpoint_path("default")).read_bytes(), type=Profile)


@pytest.fixture(scope="module")
def made(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> tuple[experiment.Made, Path]:
    folder = tmp_path_factory.mktemp("policies")
    return experiment.reproduce(profile, TINY, folder, 1, lambda stage, done, note: None), folder


def outcomes(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "outcomes.csv").open()))


def test_everybody_is_judged_on_the_same_slots_and_told(made: tuple[experiment.Made, Path], profile: Profile) -> None:
    result, folder = made
    rows = outcomes(folder)
    text = result.path.read_text()
    for method in METHODS:
        judged = [row for row in rows if (row["policy"], row["sweep"]) == (method.name, AT_DEFAULTS)]
        if encodings_of(method, profile) is None:
            assert not judged and f"| {method.name} | the checkpoint's profile has no options" in text
        else:
            assert [row["seed"] for row in judged] == ["1", "2"]
    best = {row["seed"]: float(row["estimated_reward"]) for row in rows if row["policy"] == EXHAUSTIVE}
    near = [row for row in rows if row["sweep"] == AT_OPTIMUM and row["policy"] == OURS]
    assert {row["trained_at"] for row in near} == {"4", "10"}
    assert all(float(row["estimated_reward"]) <= best[row["seed"]] + 1e-9 for row in near)
    assert {row["trained_at"] for row in rows if (row["sweep"], row["value"]) == (DEVICES, "5")} >= {"5", "10"}
    assert all(f"]({path.name})" in text for path in folder.glob("*.svg")) and len(list(folder.glob("*.svg"))) == 2


def test_a_learner_learns_from_all_that_it_is_judged_on(made: tuple[experiment.Made, Path], profile: Profile) -> None:
    for method in METHODS:
        if method.learner:
            trained = list((made[1] / "trained").glob(f"{method.short}-10-*/policy.safetensors"))
            told = [load_actor(path)[1].about["options"] for path in trained]
            options = [str(row.option) for row in profile.considered(encodings_of(method, profile)).rows]
            assert told == [options, options], method.name


def test_what_is_done_is_not_done_again(made: tuple[experiment.Made, Path], profile: Profile) -> None:
    result, folder = made
    before, rows = result.path.read_text(), outcomes(folder)
    written = {path: path.stat().st_mtime_ns for path in (folder / "judged").iterdir()}
    lost = sorted((folder / "judged").iterdir())[0]
    kept = lost.read_bytes()
    lost.unlink()
    again = experiment.reproduce(profile, TINY, folder, 1, lambda stage, done, note: None)
    again_written = {path for path, at in written.items() if path.stat().st_mtime_ns != at}
    assert again_written == {lost} and lost.read_bytes() == kept
    assert again.path.read_text() == before and outcomes(folder) == rows


def test_several_processes_give_the_same(profile: Profile, tmp_path: Path) -> None:
    greedy = next(method for method in METHODS if method.name == "greedy")
    pieces = [Judging(greedy, profile.considered(), DEFAULTS, seed, 3) for seed in (1, 2, 3)]
    heard: list[int] = []
    alone = work.do_all(pieces, tmp_path / "alone", 1, heard.append)
    assert alone == work.do_all(pieces, tmp_path / "both", 2, heard.append)
    assert heard == [1, 2, 3, 1, 2, 3] and len({judged.reward for judged in alone}) == 3


KILLED = """
import sys
from pathlib import Path
import msgspec
from testbed.experiments.policies.work import Training, do_all
if __name__ == "__main__":
    do_all(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[Training]), Path(sys.argv[2]), 2, print)
"""


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_an_ended_experiment_leaves_no_process_and_goes_on_where_it_was(
    profile: Profile, tmp_path: Path, by: signal.Signals
) -> None:
    ours = next(method for method in METHODS if method.name == OURS)
    menu, scenario = profile.considered(["jpeg"]), Scenario(devices=2, edges=1, stay_slots=1)
    pieces = [Training(ours, menu, scenario, 1, 500)]
    (tmp_path / "pieces.json").write_bytes(msgspec.json.encode(pieces))
    (tmp_path / "killed.py").write_text(KILLED)
    killed = tmp_path / "killed"
    code = [sys.executable, tmp_path / "killed.py", tmp_path / "pieces.json", killed]
    with subprocess.Popen(
        code,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not list(killed.glob("trained/*/state.safetensors")):  # the test's limit ends a wait
            assert process.poll() is None
            time.sleep(0.01)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(by)
    assert workers and psutil.wait_procs(workers, timeout=10)[1] == []
    assert not list(killed.glob("trained/*/policy.safetensors"))
    (resumed,), (alone,) = (work.do_all(pieces, folder, 1, print) for folder in (killed, tmp_path / "alone"))
    (one, told), (other, also_told) = load_actor(resumed), load_actor(alone)
    assert told == also_told and one.weights.keys() == other.weights.keys()
    assert all(np.array_equal(weights, other.weights[name]) for name, weights in one.weights.items())
    assert (resumed.parent / "curve.json").read_bytes() == (alone.parent / "curve.json").read_bytes()


def as_judged(reward: float) -> Judged:
    return Judged(reward, reward, reward, reward, 100 * reward, 0.1)


def figures(rewards: dict[str, list[float]], sweep: str = AT_DEFAULTS, value: float = 0, at: int = 10) -> list[Outcome]:
    return [
        Outcome(sweep, value, name, at if name != EXHAUSTIVE else None, seed, as_judged(reward))
        for name, of_seeds in rewards.items()
        for seed, reward in enumerate(of_seeds)
    ]


def test_claims_hold_by_differences_and_goals_by_intervals_apart() -> None:
    found = figures({OURS: [0.5, 0.6, 0.7], "DROO-AECNN": [0.49, 0.588, 0.691], "greedy": [0.1, 0.11, 0.12]})
    found += figures({EXHAUSTIVE: [0.8, 0.8, 0.8], OURS: [0.79, 0.79, 0.79]}, AT_OPTIMUM, 4, at=4)
    found += figures({OURS: [0.5, 0.5, 0.5]}, DEVICES, 5, at=5) + figures({OURS: [0.48, 0.48, 0.48]}, DEVICES, 5)
    judged = Outcomes(tuple(found))
    said = {finding.claim: finding.verdict for finding in claims(judged)}
    assert said["GRL-AECNN above DROO-AECNN in average accuracy"] == "holds"
    assert said["GRL-AECNN above GRL-DeepJSCC in throughput"] == "undecided"
    reached = {finding.claim: finding.verdict for finding in goals(judged)}
    assert reached["GRL-AECNN above DROO-AECNN in reward at the defaults, the intervals apart"] == "missed"
    assert reached["GRL-AECNN above greedy in reward at the defaults, the intervals apart"] == "reached"
    assert reached["GRL-AECNN at least 0.98 of the optimum at 4 devices and 2 edges"] == "reached"
    assert reached["Trained at 10 devices, run at 5: at most 3% below trained there, in reward"] == "missed"


def test_methods_choose_among_their_own_options(profile: Profile) -> None:
    methods = {method.name: method for method in METHODS}
    assert encodings_of(methods["GRL-BottleNet++"], profile) == ("raw", "jpeg", "bottlenet++")
    assert encodings_of(methods["GRL-DeepJSCC"], profile) == ("raw", "jpeg", "deepjscc")
    assert encodings_of(methods["GRL, early exits"], profile) == ("raw", "jpeg", "exit-layer2", "exit-layer3")
    assert encodings_of(methods[OURS], profile) == ("raw", "jpeg", "aecnn")
    again = encodings_of(methods["GRL, recompressed photographs"], profile)
    assert again is not None and again[:2] == ("raw", "jpeg") and {"jpeg-5", "webp-75"} < set(again[2:])
    assert not any(one in again[2:] for one in ("raw", "jpeg", "aecnn"))
    none = msgspec.structs.replace(profile, rows=tuple(row for row in profile.rows if row.option.kind is Kind.LOCAL))
    assert encodings_of(methods["GRL-BottleNet++"], none) is None


def test_menus_are_reduced_to_what_can_be_tried(profile: Profile) -> None:
    ours = profile.considered(("raw", "jpeg", "aecnn"))
    assert reduced(ours, 1, 2) == ours
    small = reduced(ours, 6, 2)
    away = [row for row in small.rows if row.option.kind is not Kind.LOCAL]
    assert 2 < len(small.rows) < len(ours.rows)
    assert (1 + 2 * len(away)) ** 6 <= EXHAUSTIVE_LIMIT < (1 + 2 * (len(away) + 1)) ** 6
    sizes = [row.payload_mean for row in ours.rows if row.option.kind is Kind.SPLIT]
    kept = [row.payload_mean for row in away if row.option.kind is Kind.SPLIT]
    assert {min(sizes), max(sizes)} <= set(kept)


def test_sweeps_hold_the_defaults() -> None:
    points = whole((1,)).points
    for sweep in {point.sweep for point in points}:
        assert DEFAULTS in [point.scenario for point in points if point.sweep == sweep]
    assert np.unique([point.value for point in points if point.sweep == DEVICES]).tolist() == [5, 10, 20, 50]
