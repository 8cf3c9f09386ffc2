import numpy as np
import pytest

from testbed.offloading.droo import BinaryActor, Thresholds, droo
from testbed.offloading.errors import PolicyError
from testbed.offloading.learner import probabilities
from testbed.offloading.wpt import WirelessPowered, alternating_weights
from tests.offloading.crowding import Crowding, droo_aecnn


def frames(devices, count, seed=0):
    rng, weights = np.random.default_rng(seed), alternating_weights(devices)
    means = np.linspace(8e-6, 1e-6, devices)
    return [WirelessPowered(rng.exponential(means), weights) for _ in range(count)]


def test_quantisation_keeps_the_order():
    second = np.array([0.2, 0.4, 0.7, 0.9])
    found = Thresholds().candidates(second)
    assert found.tolist() == [
        [0, 0, 1, 1],  # above one half
        [0, 1, 1, 1],  # at least 0.4
        [0, 0, 0, 1],  # above 0.7
        [1, 1, 1, 1],  # at least 0.2
    ]


def test_the_number_of_candidates_follows_what_was_best():
    second = np.array([0.2, 0.4, 0.7, 0.9])
    search, counts = Thresholds(), []
    for frame in range(96):
        counts.append(len(search.candidates(second)))
        search.judged(1 if frame == 20 else 3 if frame == 70 else 0)
    assert counts == [4] * 32 + [3] * 32 + [2] * 32
    assert len(search.candidates(second)) == 4  # 3 + 2, but there are no more than devices

    again = Thresholds()
    again.state = search.state
    assert len(again.candidates(second)) == 4


def test_the_network_is_the_published_one():
    problem = frames(10, 1)[0]
    actor = BinaryActor.drawn(problem.graph, seed=0)
    assert [actor.weights[layer].shape for layer in "012"] == [(10, 120), (120, 80), (80, 10)]
    hidden = problem.graph.devices[:, 0]
    for layer in "01":
        hidden = np.maximum(hidden @ actor.weights[layer] + actor.weights[f"{layer}.bias"], 0)
    sigmoid = 1 / (1 + np.exp(-(hidden @ actor.weights["2"] + actor.weights["2.bias"])))
    assert probabilities(actor, problem.graph)[:, 1] == pytest.approx(sigmoid, abs=1e-5)


def test_droo_learns_its_own_problem():
    learner = droo(frames(5, 1)[0].graph, seed=0)
    every_mode = np.array([[number >> bit & 1 for bit in range(5)] for number in range(32)])
    shares = []
    for problem in frames(5, 3000):
        best = problem.rewards(every_mode).max()
        shares.append(learner.learn(problem).own_reward / best)
    assert np.mean(shares[-300:]) > 0.98 > 0.95 > np.mean(shares[:100])


def test_the_flat_actor_learns_any_number_of_options():
    rng = np.random.default_rng(0)
    learner = droo_aecnn(Crowding(rng, 4, 3).graph, seed=0)
    rewards = [learner.learn(Crowding(rng, 4, 3, 0.8)).own_reward for _ in range(1500)]
    assert np.mean(rewards[-200:]) > np.mean(rewards[:200]) + 0.1


def test_another_size_is_refused_with_what_to_do():
    learner = droo_aecnn(frames(5, 1)[0].graph, seed=0)
    with pytest.raises(
        PolicyError, match=r"decides only for as many devices and options .* grl decides for any number"
    ):
        learner.decide(frames(6, 1)[0])


def test_droo_as_published_wants_two_options():
    with pytest.raises(PolicyError, match="two options"):
        droo(Crowding(np.random.default_rng(0), 4, 3).graph, seed=0)
