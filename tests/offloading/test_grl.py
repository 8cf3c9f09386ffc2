import itertools

import numpy as np
import pytest
import torch

from testbed.offloading import grl as module
from testbed.offloading.grl import GraphActor, Switches, grl
from testbed.offloading.learner import probabilities
from testbed.offloading.problem import Graph
from tests.offloading.crowding import Crowding


def graph_of(devices, options, seed=0):
    rng = np.random.default_rng(seed)
    allowed = rng.uniform(size=(devices, options)) < 0.7
    allowed[:, 0] = True
    shapes = ((devices, 3), (options, 4), (devices, options, 2))
    return Graph(*(rng.normal(size=shape).astype(np.float32) for shape in shapes), allowed)


@pytest.fixture
def actor():
    return GraphActor.drawn(graph_of(2, 2), seed=1)


def test_the_same_weights_serve_graphs_of_any_size(actor):
    for devices, options in ((1, 1), (3, 7), (40, 2)):
        graph = graph_of(devices, options)
        found = probabilities(actor, graph)
        assert found.shape == (devices, options)
        assert found.sum(axis=1) == pytest.approx(np.ones(devices), abs=1e-5)
        assert (found[~graph.allowed] == 0).all()


def test_the_order_of_devices_and_options_does_not_matter(actor):
    graph = graph_of(6, 4)
    devices, options = np.array([3, 0, 5, 1, 4, 2]), np.array([2, 0, 3, 1])
    both = np.ix_(devices, options)
    other = Graph(graph.devices[devices], graph.options[options], graph.edges[both], graph.allowed[both])
    assert probabilities(actor, other) == pytest.approx(probabilities(actor, graph)[both], abs=1e-5)


def test_what_is_not_allowed_is_not_seen(actor):
    graph = graph_of(5, 4)
    edges = np.where(graph.allowed[:, :, None], graph.edges, 9.0).astype(np.float32)
    assert probabilities(actor, graph._replace(edges=edges)) == pytest.approx(probabilities(actor, graph), abs=1e-6)


def test_a_device_sees_the_others(actor):
    graph = graph_of(5, 4)
    edges = graph.edges.copy()
    edges[4] += 1
    assert np.abs(probabilities(actor, graph._replace(edges=edges)) - probabilities(actor, graph))[:4].max() > 1e-4


def test_torch_and_numpy_agree_whether_by_blocks_or_not(actor, monkeypatch):
    graph = graph_of(50, 6)
    arrays = (*graph[:3], graph.allowed.astype(np.float32))
    weights = {name: torch.from_numpy(array) for name, array in actor.weights.items()}
    expected = actor.logits(weights, *(torch.from_numpy(array)[None] for array in arrays))[0].numpy()
    for block in (1, 100, 10_000):
        monkeypatch.setattr(module, "BLOCK", block)
        assert actor.logits(actor.weights, *arrays) == pytest.approx(expected, abs=1e-4)


def searched(search, shares, allowed, worth):
    """What was judged, a round each, and the decision."""
    rounds = []

    def judge(choices):
        rounds.append(choices.tolist())
        return np.array([worth(choice) for choice in choices], dtype=float)

    return rounds, search.best(shares, allowed, judge)


def test_the_first_candidates_doubt_the_least_certain_device_first_and_with_it_those_that_hesitate_alike():
    shares = np.array([[0.5, 0.3, 0.2], [0.1, 0.44, 0.46], [0.35, 0.34, 0.31], [0.9, 0.0, 0.1]])
    (first,), decided = searched(Switches(0, 8, rounds=1), shares, np.ones((4, 3), bool), lambda choice: choice[2])
    assert first[:5] == [
        [0, 2, 0, 0],
        [0, 2, 1, 0],  # margin 0.01
        [0, 1, 0, 0],  # 0.02
        [1, 2, 1, 0],  # 0.2, between the same two as the first
        [0, 2, 0, 2],  # 0.8
    ]
    assert decided.candidates == len(first) == 8
    assert decided.reward == max(choice[2] for choice in first)
    assert decided.own_reward == 0


def test_later_candidates_switch_single_devices_of_the_best_so_far_and_never_twice_alike():
    shares = np.array([[0.6, 0.3, 0.1], [0.5, 0.45, 0.05]])
    rounds, decided = searched(Switches(0, 2, rounds=4), shares, np.ones((2, 3), bool), lambda choice: choice.sum())
    assert rounds[0][0] == [0, 0]
    assert decided.choice.tolist() == [2, 2]
    at, before = max(rounds[0], key=sum), 0
    for tried in rounds[1:]:
        assert all(sum(a != b for a, b in zip(choice, at, strict=True)) == 1 for choice in tried)
        at = max([at, *tried], key=sum)
        assert sum(at) >= before
        before = sum(at)


def test_switches_that_gain_are_made_together():
    shares, allowed = np.tile([0.999, 0.001], (20, 1)), np.ones((20, 2), bool)
    gains = np.where(np.arange(20) % 3 == 0, 1, -1)
    rounds, decided = searched(Switches(0, 40), shares, allowed, lambda choice: choice @ gains)
    assert decided.choice.tolist() == (gains > 0).tolist()
    assert all(choice @ gains < 7 for choice in np.array(rounds[0]))  # no first candidate has them
    assert decided.candidates == sum(map(len, rounds))


def test_the_most_certain_alone_keep_their_choice():
    """Where more than four away from option 0 are worth nothing, and one switch changes nothing."""
    shares = np.full((40, 6), 0.02)
    shares[:, 0] = 0.3 - np.arange(40) / 1000
    shares[np.arange(40), 1 + np.arange(40) % 5] = 0.5
    everything = np.ones((40, 6), bool)

    def worth(choice):
        away = (choice != 0).sum()
        return away if away <= 4 else 0

    (first, *_), decided = searched(Switches(0), shares, everything, worth)
    assert decided.own_reward == 0 and decided.reward == 4
    staying = [(np.array(choice) == 0).sum() for choice in first[32:]]
    assert staying == [1, 2, 4, 8, 16, 24, 32, 36, 38, 39, 40]
    best = max(first, key=lambda choice: worth(np.array(choice)))
    assert np.flatnonzero(best).tolist() == [36, 37, 38, 39]  # those that hold option 0 for least


def test_drawn_candidates_are_as_likely_as_their_probabilities():
    shares, allowed = np.array([[0.2, 0.5, 0.3], [0.0, 0.0, 1.0]]), np.array([[True, True, True], [True, False, True]])
    (first,), _ = searched(Switches(0, 20_001, rounds=1), shares, allowed, lambda choice: 0.0)
    drawn = np.array(first[10_001:])
    assert np.bincount(drawn[:, 0]) / len(drawn) == pytest.approx([0.2, 0.5, 0.3], abs=0.02)
    assert (drawn[:, 1] == 2).all()


def test_candidates_are_allowed_though_probabilities_vanish():
    allowed = np.array([[False, True, False], [True, False, True], [False, False, True]])
    shares = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    rounds, decided = searched(Switches(0, 4, rounds=3), shares, allowed, lambda choice: -choice.sum())
    assert decided.choice.tolist() == [1, 0, 2]
    for tried in rounds:
        assert allowed[np.arange(3), np.array(tried)].all()


def test_a_first_belief_is_left_though_no_single_switch_is_worth_anything():
    shares = np.full((6, 7), 0.05)
    shares[:, 0] = 0.6
    shares[np.arange(6), np.arange(1, 7)] = 0.15  # no two devices hesitate alike
    everything = np.ones((6, 7), bool)
    _, decided = searched(Switches(0), shares, everything, lambda choice: (choice != 0).sum() >= 2)
    assert decided.own_reward == 0
    assert decided.reward == 1


def test_it_comes_near_the_optimum_and_its_own_choice_does_on_another_size():
    rng = np.random.default_rng(1)
    learner = grl(Crowding(rng, 5, 3).graph, seed=0)
    for _ in range(1500):
        learner.learn(Crowding(rng, 5, 3, 0.8))

    def gaps(devices, options):
        problems = [Crowding(rng, devices, options, 0.8) for _ in range(40)]
        decided = [(learner.decide(problem), problem.optimum()) for problem in problems]
        return np.mean([(best - one.reward, best - one.own_reward) for one, best in decided], axis=0)

    at_random = np.mean([problem.optimum() - problem.rewards(everyone).mean() for problem, everyone in _some(rng)])
    for size in ((5, 3), (7, 3)):
        decided, own = gaps(*size)
        assert decided < 0.1 * at_random
        assert own < 0.5 * at_random  # the actor alone, before its candidates are judged


def _some(rng):
    everything = np.array(list(itertools.product(range(3), repeat=5)))
    return [(Crowding(rng, 5, 3), everything) for _ in range(40)]
