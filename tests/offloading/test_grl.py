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


def test_candidates_switch_the_least_certain_device_first():
    shares = np.array([[0.5, 0.3, 0.2], [0.1, 0.44, 0.46], [0.9, 0.0, 0.1], [0.34, 0.33, 0.33]])
    found = Switches(4).propose(shares, np.ones((4, 3), bool))
    assert found.tolist() == [
        [0, 2, 0, 0],
        [0, 2, 0, 1],  # margin 0.01
        [0, 1, 0, 0],  # 0.02
        [1, 2, 0, 0],  # 0.2
    ]
    assert len(Switches(99).propose(shares, np.ones((4, 3), bool))) == 5
    assert len(Switches(1).propose(shares, np.ones((4, 3), bool))) == 1


def test_candidates_are_allowed_though_probabilities_vanish():
    allowed = np.array([[False, True, False], [True, False, True]])
    found = Switches(5).propose(np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), allowed)
    assert found.tolist() == [[1, 2], [1, 0]]


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
