import subprocess
import sys

import numpy as np
import pytest

from testbed.offloading.actors import load_actor, save_actor
from testbed.offloading.droo import droo
from testbed.offloading.errors import PolicyError
from testbed.offloading.grl import grl
from testbed.offloading.learner import Learning
from testbed.offloading.wpt import WirelessPowered, alternating_weights
from tests.offloading.crowding import Crowding, droo_aecnn

SMALL = Learning(memory=40, batch=16, every=5)


def crowds(count, seed=0):
    rng = np.random.default_rng(seed)
    return [Crowding(rng, 4, 3) for _ in range(count)]


def mixed(count):
    rng = np.random.default_rng(7)
    return [Crowding(rng, int(rng.integers(1, 6)), int(rng.integers(1, 4)), 0.7) for _ in range(count)]


def powered(count):
    rng = np.random.default_rng(0)
    return [WirelessPowered(rng.exponential(3e-6, 4), alternating_weights(4)) for _ in range(count)]


MAKERS = {
    "grl": (lambda like, seed: grl(like, seed, SMALL), crowds),
    "grl, slots of many sizes": (lambda like, seed: grl(like, seed, SMALL), mixed),
    "droo-aecnn": (lambda like, seed: droo_aecnn(like, seed, SMALL), crowds),
    "droo": (droo, powered),
}


@pytest.fixture(params=MAKERS)
def kind(request):
    return MAKERS[request.param]


def run(learner, problems):
    return [learner.learn(problem).choice.tolist() for problem in problems]


def test_the_same_seed_gives_the_same_curve_and_decisions(kind):
    make, slots = kind
    problems = slots(120)
    first, second = (make(problems[0].graph, 3) for _ in range(2))
    assert run(first, problems) == run(second, problems)
    assert first.losses == second.losses
    assert len(first.losses) == 120 // first.learning.every
    other = make(problems[0].graph, 4)
    run(other, problems)
    assert other.losses != first.losses


def test_a_learner_restored_goes_on_as_if_it_had_not_stopped(kind, tmp_path):
    make, slots = kind
    problems = slots(143)
    whole = make(problems[0].graph, 3)
    decisions = run(whole, problems)

    stopped = make(problems[0].graph, 3)
    run(stopped, problems[:77])
    stopped.save(tmp_path / "state.safetensors")
    resumed = make(problems[0].graph, 99)
    resumed.restore(tmp_path / "state.safetensors")
    assert run(resumed, problems[77:]) == decisions[77:]
    assert resumed.losses == whole.losses
    assert all((resumed.actor.weights[name] == array).all() for name, array in whole.actor.weights.items())


def test_a_learner_that_has_seen_nothing_can_be_saved(tmp_path):
    problems = crowds(30)
    fresh, restored = grl(problems[0].graph, 1, SMALL), grl(problems[0].graph, 2, SMALL)
    fresh.save(tmp_path / "state")
    restored.restore(tmp_path / "state")
    assert run(fresh, problems) == run(restored, problems)


def test_the_memory_forgets_the_oldest():
    problems = crowds(100)
    learner = grl(problems[0].graph, 1, SMALL)
    run(learner, problems)
    remembered = [graph for graph, _ in learner._memory]
    assert len(remembered) == 40
    assert any((graph.edges == problems[99].graph.edges).all() for graph in remembered)
    assert not any((graph.edges == problems[59].graph.edges).all() for graph in remembered)


def test_deciding_does_not_learn():
    problems = crowds(50)
    learner = grl(problems[0].graph, 1, SMALL)
    before = {name: array.copy() for name, array in learner.actor.weights.items()}
    for problem in problems:
        learner.decide(problem)
    assert learner.slots == 0
    assert all((learner.actor.weights[name] == array).all() for name, array in before.items())


def test_the_decision_is_the_best_candidate():
    (problem,) = crowds(1)
    learner = grl(problem.graph, 1)
    decided = learner.decide(problem)
    assert decided.reward == problem.rewards(decided.choice[None])[0]
    assert decided.reward >= decided.own_reward


def test_a_state_of_another_learner_is_refused(tmp_path):
    like = crowds(1)[0].graph
    grl(like, 0, SMALL).save(tmp_path / "state")
    for other in (grl(like, 0), droo_aecnn(like, 0, SMALL)):
        with pytest.raises(PolicyError, match="other settings or another actor; begin a new one"):
            other.restore(tmp_path / "state")
    (tmp_path / "text").write_text("no")
    for path in ("text", "absent"):
        with pytest.raises(PolicyError, match=f"{path}: cannot be read"):
            grl(like, 0).restore(tmp_path / path)


@pytest.mark.parametrize("make", [grl, droo_aecnn, droo])
def test_an_actor_is_read_as_it_was_written(make, tmp_path):
    problems = powered(5)
    learner = make(problems[0].graph, 5)
    save_actor(tmp_path / "actor.safetensors", learner.actor, {"seed": 5})
    actor, description = load_actor(tmp_path / "actor.safetensors")
    assert type(actor) is type(learner.actor)
    assert description.about == {"seed": 5}
    assert all((actor.weights[name] == array).all() for name, array in learner.actor.weights.items())
    learner.save(tmp_path / "state")
    with pytest.raises(PolicyError, match="its format is testbed-learner-1; testbed-actor-1 is needed"):
        load_actor(tmp_path / "state")


def test_deciding_imports_no_torch(tmp_path):
    problem = crowds(1)[0]
    save_actor(tmp_path / "actor", grl(problem.graph, 0).actor, {})
    code = """
import sys
from pathlib import Path
import numpy as np
from testbed.offloading.actors import load_actor
from testbed.offloading.grl import Switches
from testbed.offloading.learner import decide
from tests.offloading.crowding import Crowding
actor, _ = load_actor(Path(sys.argv[1]))
decide(actor, Switches(0), Crowding(np.random.default_rng(0), 4, 3))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "actor")], check=True, timeout=60)
