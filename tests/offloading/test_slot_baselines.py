"""The choosers that learn nothing."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest

from testbed.jobs.decision import LOCAL, Kind
from testbed.jobs.profile import Profile
from testbed.offloading.errors import PolicyError
from testbed.offloading.mec import Mec, MecProblem
from testbed.offloading.scenario import Scenario, Slots
from testbed.offloading.slot_baselines import (
    Chooser,
    ExhaustiveChooser,
    FullChooser,
    GreedyChooser,
    LocalChooser,
    RandomChooser,
)
from testbed.offloading.system_model import OffloadingProblem

SMALL = Scenario(devices=3, edges=2)


def problems(scenario: Scenario, profile: Profile, count: int) -> list[MecProblem]:
    mec, slots = Mec(scenario, profile), Slots(scenario, 0)
    return [mec.problem(slots[t]) for t in range(count)]


def test_exhaustive_is_the_best_of_all_decisions(profile: Profile) -> None:
    every = np.array(list(itertools.product(range(9), repeat=3)))
    for problem in problems(SMALL, profile, 8):
        best = problem.rewards(ExhaustiveChooser().choose(problem)[None])[0]
        assert best == pytest.approx(problem.rewards(every).max(), abs=1e-4)


def test_exhaustive_takes_only_what_is_allowed(profile: Profile) -> None:
    every = np.array(list(itertools.product(range(9), repeat=3)))
    for number, problem in enumerate(problems(SMALL, profile, 8)):
        unfit = np.random.default_rng(number).random((3, 9)) < 0.8
        unfit[np.arange(3), number % 9] = False
        few = OffloadingProblem(problem.terms._replace(allowed=~unfit))
        fitting = every[~unfit[np.arange(3), every].any(axis=1)]
        choice = ExhaustiveChooser().choose(few)
        assert not unfit[np.arange(3), choice].any()
        assert few.rewards(choice[None])[0] == pytest.approx(few.rewards(fitting).max(), abs=1e-4)


@pytest.mark.parametrize("chooser", [LocalChooser(), FullChooser(), GreedyChooser(), RandomChooser(0)])
def test_nobody_betters_exhaustive(profile: Profile, chooser: Chooser) -> None:
    for problem in problems(SMALL, profile, 8):
        best, theirs = (problem.rewards(who.choose(problem)[None])[0] for who in (ExhaustiveChooser(), chooser))
        assert theirs <= best + 1e-4


def test_exhaustive_refuses_what_it_could_not_finish(profile: Profile) -> None:
    (problem,) = problems(Scenario(devices=10), profile, 1)
    with pytest.raises(PolicyError, match="too many"):
        ExhaustiveChooser().choose(problem)


def test_local_and_full_decide_what_they_are_called(profile: Profile) -> None:
    for problem in problems(Scenario(), profile, 3):
        local = [problem.decisions[option] for option in LocalChooser().choose(problem)]
        assert all(decision.option == LOCAL and decision.edge is None for decision in local)
        choice = FullChooser().choose(problem)
        full = np.array([decision.option.kind is Kind.FULL for decision in problem.decisions])
        assert full[choice].all()
        times = problem.equal_shares.completion_s
        assert (times[np.arange(10), choice] == times[:, full].min(axis=1)).all()


def test_a_profile_without_the_option_is_refused(profile: Profile) -> None:
    local_only = msgspec.structs.replace(profile, rows=profile.rows[:1])
    nothing_local = msgspec.structs.replace(profile, rows=profile.rows[1:])
    with pytest.raises(PolicyError, match="whole photographs"):
        FullChooser().choose(problems(SMALL, local_only, 1)[0])
    with pytest.raises(PolicyError, match="no local"):
        LocalChooser().choose(problems(SMALL, nothing_local, 1)[0])


def test_greedy_takes_the_best_accuracy_in_time_and_else_the_fastest(profile: Profile) -> None:
    seen = set()
    for problem in problems(Scenario(), profile, 30):
        equal, accuracy = problem.equal_shares.completion_s, problem.terms.menu.accuracy
        for device, option in enumerate(GreedyChooser().choose(problem)):
            in_time = equal[device] <= problem.terms.deadline_s[device]
            seen.add(bool(in_time.any()))
            if in_time.any():
                assert in_time[option] and accuracy[option] == accuracy[in_time].max()
                assert equal[device, option] == equal[device][in_time & (accuracy == accuracy[option])].min()
            else:
                assert equal[device, option] == equal[device].min()
    assert seen == {True, False}


def test_random_draws_evenly_and_again_the_same_from_its_seed(profile: Profile) -> None:
    (problem,) = problems(Scenario(devices=9), profile, 1)
    chooser = RandomChooser(4)
    drawn = np.stack([chooser.choose(problem) for _ in range(500)])
    counts = np.bincount(drawn.ravel(), minlength=9)
    assert (np.abs(counts / 500 - 1) < 0.2).all()
    np.testing.assert_array_equal(drawn[0], RandomChooser(4).choose(problem))
