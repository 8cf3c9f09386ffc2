import itertools

import numpy as np

from testbed.jobs.profile import Profile
from testbed.offloading.mec import Mec
from testbed.offloading.scenario import Scenario, Slots
from testbed.offloading.training import searching
from testbed.offloading.training.searching import Thorough
from tests.offloading.crowding import Crowding


def even(allowed):
    return allowed / allowed.sum(axis=1, keepdims=True)


def test_no_switch_of_one_device_betters_what_is_found(profile: Profile) -> None:
    scenario = Scenario(devices=6)
    model = Mec(scenario, profile)
    for number in range(5):
        problem = model.problem(Slots(scenario, 3)[number])
        graph = problem.graph
        decided = Thorough().best(even(graph.allowed), graph.allowed, problem.rewards)
        assert decided.reward >= decided.own_reward
        devices, options = np.nonzero(graph.allowed)
        switched = np.tile(decided.choice, (len(devices), 1))
        switched[np.arange(len(devices)), devices] = options
        assert problem.rewards(switched).max() <= decided.reward + 1e-9


def test_it_is_near_the_best_of_all_and_keeps_to_what_is_allowed() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(20):
        problem = Crowding(rng, 4, 3, 0.7)
        allowed = problem.graph.allowed
        decided = Thorough().best(even(allowed), allowed, problem.rewards)
        assert allowed[np.arange(4), decided.choice].all()
        every = [choice for choice in itertools.product(range(3), repeat=4) if allowed[range(4), choice].all()]
        best = problem.rewards(np.array(every)).max()
        assert decided.reward <= best + 1e-9
        shares.append(decided.reward >= best - 1e-9)
    assert np.mean(shares) > 0.7


def test_with_many_switches_all_are_tried_in_turn(monkeypatch, profile: Profile) -> None:
    scenario = Scenario(devices=6)
    problem = Mec(scenario, profile).problem(Slots(scenario, 3)[0])
    allowed = problem.graph.allowed
    whole = Thorough().best(even(allowed), allowed, problem.rewards)
    monkeypatch.setattr(searching, "TRIED", 10)
    monkeypatch.setattr(searching, "ROUNDS", 200)
    parts = Thorough().best(even(allowed), allowed, problem.rewards)
    assert parts.reward >= 0.95 * whole.reward
