import itertools

import numpy as np
import pytest

from testbed.experiments.droo_data import Followed, Frames, compare, follow, learn_in_turn, summary
from testbed.offloading.grl import grl
from testbed.offloading.wpt import WirelessPowered, alternating_weights


def frames_of(devices, count):
    """Frames like those published, and the optimum by trying every mode."""
    gains = np.random.default_rng(devices).exponential(np.geomspace(8e-6, 1e-6, devices), (count, devices))
    modes, weights = np.array(list(itertools.product((0, 1), repeat=devices))), alternating_weights(devices)
    return Frames(gains, np.array([WirelessPowered(frame, weights).rewards(modes).max() for frame in gains]))


def test_learners_are_compared_on_ten_devices_and_carried_from_others():
    found = list(compare({devices: frames_of(devices, 80) for devices in (3, 4, 10)}, seeds=[1], frames=60))
    assert [one.learner for one in found] == ["droo", "grl", "grl learnt at 3, 4"]
    for one in found:
        assert one.frames == 60
        assert 0.5 < one.own_last <= one.last <= 1 + 1e-9
        assert 1 <= one.candidates <= 10
        assert one.decision_ms > 0
    assert found[1].last > 0.9


def test_without_other_files_nothing_is_carried():
    found = list(compare({10: frames_of(10, 20)}, seeds=[1, 2]))
    assert [(one.learner, one.seed) for one in found] == [("droo", 1), ("grl", 1), ("droo", 2), ("grl", 2)]


def test_following_may_leave_a_learner_as_it_is():
    frames = frames_of(3, 25)
    learner = grl(next(frames.problems).graph, seed=0)
    followed = follow(learner, frames, learning=False)
    assert learner.slots == 0
    assert (followed.rate <= 1 + 1e-9).all()
    assert (followed.own_rate <= followed.rate).all()


def test_files_are_learnt_from_by_turns_until_all_have_ended():
    files = [frames_of(2, 5), frames_of(3, 3)]
    learner = grl(next(files[0].problems).graph, seed=0)
    learn_in_turn(learner, files)
    assert [len(graph.devices) for graph, _ in learner._memory] == [2, 3, 2, 3, 2, 3, 2, 2]


def test_the_last_fifth_is_told_of_and_the_first_thousand():
    rate = np.concatenate([np.full(1000, 0.5), np.full(3000, 0.8), np.full(1000, 1.0)])
    found = summary("one", 3, Followed(rate, rate / 2, np.full(5000, 4), np.full(5000, 0.002)))
    assert (found.first, found.last, found.own_last) == (0.5, 1.0, 0.5)
    assert found.candidates == 4
    assert (found.frame_ms, found.decision_ms) == pytest.approx((2.0, 2.0))
