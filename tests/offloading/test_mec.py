"""The system model, against its equations worked out by hand and against what comes of its decisions."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from testbed.jobs.decision import Kind
from testbed.jobs.profile import Profile
from testbed.offloading.features import BOUND, DEVICE_FEATURES, EDGE_FEATURES, OPTION_FEATURES
from testbed.offloading.mec import Mec, MecProblem, Outcome
from testbed.offloading.scenario import Scenario, Slot, Slots
from testbed.offloading.system_model import SOONER

CERTAIN = Scenario(devices=6, available_min=1.0, estimate_error=0.0)


def problems(scenario: Scenario, profile: Profile, count: int, seed: int = 0) -> list[MecProblem]:
    mec, slots = Mec(scenario, profile), Slots(scenario, seed)
    return [mec.problem(slots[t]) for t in range(count)]


def random_choices(problem: MecProblem, candidates: int) -> np.ndarray:
    return np.random.default_rng(0).integers(len(problem.decisions), size=(candidates, len(problem.terms.deadline_s)))


def test_slots_are_a_function_of_scenario_seed_and_number() -> None:
    scenario = Scenario(stay_slots=3)
    forwards = [slot for slot, _ in zip(Slots(scenario, 1), range(8), strict=False)]
    slots = Slots(scenario, 1)
    backwards = [slots[t] for t in reversed(range(8))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        for mine, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, same)
    assert not np.array_equal(Slots(scenario, 2)[0].gains, forwards[0].gains)
    speeds = [slot.device_flops_per_s for slot in forwards]
    np.testing.assert_array_equal(speeds[0], speeds[2])
    assert not np.array_equal(speeds[2], speeds[3])


def test_fading_is_rayleigh_and_the_estimate_as_far_off_as_asked() -> None:
    scenario = Scenario(devices=1, edges=1, distance_m=(100.0, 100.0), estimate_error=0.3, stay_slots=10**9)
    slots = Slots(scenario, 0)
    drawn = [slots[t] for t in range(4000)]
    path_gain = 10 ** (-(scenario.reference_loss_db + 10 * scenario.path_loss_exponent * 2) / 10)
    fading = np.array([slot.gains.item() for slot in drawn]) / path_gain
    estimate = np.array([slot.estimated_gains.item() for slot in drawn]) / path_gain
    assert fading.mean() == pytest.approx(1, abs=0.06) and fading.std() == pytest.approx(1, abs=0.1)
    assert estimate.mean() == pytest.approx(1, abs=0.06)
    correlation = np.corrcoef(fading, estimate)[0, 1]  # of the powers: that of the amplitudes, 1 - eps², squared rule
    assert correlation == pytest.approx(1 - 0.3**2, abs=0.05)
    given = np.array([slot.edge_flops_per_s.item() for slot in drawn]) / scenario.edge_flops_per_s
    assert given.min() >= 0.5 and given.max() <= 1 and given.mean() == pytest.approx(0.75, abs=0.01)


def test_impossible_scenarios_are_refused() -> None:
    for wrong in (
        {"devices": 0},
        {"available_min": 0.0},
        {"deadline_s": (0.2, 0.1)},
        {"psi": -1.0},
        {"jobs_per_s": -1.0},
    ):
        with pytest.raises(ValueError, match=r"must|at least"):
            Scenario(**wrong)


@pytest.fixture
def lone() -> tuple[Scenario, Slot]:
    """A device and an edge, in round numbers: an SNR of 3 with all of 5 MHz, so that 10 Mbit/s pass."""
    scenario = Scenario(devices=1, edges=1, available_min=1.0)
    gain = 3 * scenario.noise_w_per_hz * scenario.bandwidth_hz / scenario.power_w
    slot = Slot(
        gains=np.array([[gain]]),
        estimated_gains=np.array([[gain]]),
        deadline_s=np.array([0.1]),
        device_flops_per_s=np.array([5e9]),
        device_backlog_s=np.array([0.004]),
        edge_flops_per_s=np.array([1e11]),
        edge_backlog_s=np.array([0.002]),
        after_s=np.zeros(1),
        gap_s=np.full(1, np.inf),
    )
    return scenario, slot


def test_the_times_rewards_and_energies_of_a_lone_device(profile: Profile, lone: tuple[Scenario, Slot]) -> None:
    scenario, slot = lone
    problem = Mec(scenario, profile).problem(slot)
    assert [str(decision.option) for decision in problem.decisions][:3] == ["local", "full raw", "full jpeg"]
    times = [
        0.004 + 7e8 / 5e9,  # local
        49152 * 8 / 1e7 + 0.002 + 7e8 / 1e11,  # raw: nothing to do on the device
        0.004 + 1e7 / 5e9 + 5000 * 8 / 1e7 + 0.002 + 7.1e8 / 1e11,  # jpeg
        0.004 + 3.05e8 / 5e9 + 800 * 8 / 1e7 + 0.002 + 4.5e8 / 1e11,  # split after layer2
        0.004 + 5.05e8 / 5e9 + 324 * 8 / 1e7 + 0.002 + 2.5e8 / 1e11,  # split after layer3
    ]
    cubed = scenario.kappa * 5e9**2
    energies = [
        cubed * 7e8,
        scenario.power_w * 49152 * 8 / 1e7,
        cubed * 1e7 + scenario.power_w * 5000 * 8 / 1e7,
        cubed * 3.05e8 + scenario.power_w * 800 * 8 / 1e7,
        cubed * 5.05e8 + scenario.power_w * 324 * 8 / 1e7,
    ]
    assert scenario.power_w == pytest.approx(0.19953, rel=1e-4)  # 23 dBm
    for option, (seconds, joules) in enumerate(zip(times, energies, strict=True)):
        outcome = problem.scored(np.array([option]))
        accuracy = profile.rows[option].accuracy
        expected = accuracy if seconds <= 0.1 else -min(1.0, (seconds - 0.1) / 0.1)
        assert outcome.completion_s[0] == pytest.approx(seconds, rel=1e-6)
        assert outcome.on_time[0] == (seconds <= 0.1)
        assert outcome.accuracy[0] == (accuracy if seconds <= 0.1 else 0)
        assert outcome.energy_j[0] == pytest.approx(joules, rel=1e-6)
        assert outcome.reward[0] == pytest.approx(expected, rel=1e-5)
        judged = expected - SOONER * min(seconds / 0.1, 2.0)
        assert problem.rewards(np.array([[option]]))[0] == pytest.approx(judged, rel=1e-5)
    assert {problem.scored(np.array([option])).on_time.item() for option in range(5)} == {True, False}


def test_decisions_are_scored_on_the_true_state_with_the_shares_allotted_on_the_estimate(
    profile: Profile, lone: tuple[Scenario, Slot]
) -> None:
    scenario, slot = lone
    jpeg = np.array([2])
    known = Mec(scenario, profile).problem(slot)
    fifteen = slot.gains * 5  # an SNR of 15: 20 Mbit/s
    better = Mec(scenario, profile).problem(slot._replace(gains=fifteen, edge_flops_per_s=np.array([5e10])))
    gained = 5000 * 8 / 1e7 - 5000 * 8 / 2e7 - 7.1e8 / 5e10 + 7.1e8 / 1e11
    assert known.scored(jpeg).completion_s - better.scored(jpeg).completion_s == pytest.approx(gained, rel=1e-6)
    np.testing.assert_array_equal(known.rewards(jpeg[None]), better.rewards(jpeg[None]))
    for mine, same in zip(known.graph, better.graph, strict=True):
        np.testing.assert_array_equal(mine, same)


@pytest.mark.parametrize("number", range(5))
def test_with_nothing_uncertain_the_model_is_right(profile: Profile, number: int) -> None:
    problem = problems(CERTAIN, profile, 5)[number]
    for choice, reward in zip(random_choices(problem, 20), problem.rewards(random_choices(problem, 20)), strict=True):
        assert reward == pytest.approx(judged(problem, problem.scored(choice)), abs=1e-9)


def judged(problem: MecProblem, outcome: Outcome) -> float:
    """The reward, less what the time it takes is held against a decision."""
    return float((outcome.reward - SOONER * np.minimum(outcome.completion_s / problem.terms.deadline_s, 2)).mean())


def test_of_what_is_worth_the_same_the_sooner_is_the_better(profile: Profile) -> None:
    rows = tuple(msgspec.structs.replace(row, accuracy=0.9) for row in profile.rows)
    scenario = msgspec.structs.replace(CERTAIN, devices=1, deadline_s=(1.0, 1.0), distance_m=(100.0, 200.0))
    mec = Mec(scenario, msgspec.structs.replace(profile, rows=rows))
    for slot, _ in zip(Slots(scenario, 0), range(5), strict=False):
        problem = mec.problem(slot)
        each = np.arange(len(problem.decisions))[:, None]
        seconds = [problem.scored(choice).completion_s.item() for choice in each]
        assert max(seconds) < 1  # all on time
        assert problem.rewards(each).argmax() == np.argmin(seconds)


def test_the_reward_is_the_mean_over_when_jobs_arrive(profile: Profile) -> None:
    scenario = msgspec.structs.replace(CERTAIN, jobs_per_s=6.0, device_backlog_s=0.08, deadline_s=(0.1, 0.3))
    mec, slot = Mec(scenario, profile), Slots(scenario, 0)[0]
    drawn = [
        mec.problem(slot._replace(after_s=one.after_s, gap_s=one.gap_s))
        for one, _ in zip(Slots(scenario, 1), range(400), strict=False)
    ]
    choices = random_choices(drawn[0], 8)
    choices[0] = 0  # all local, where what came before is waited for the longest
    scored = np.array([[judged(problem, problem.scored(choice)) for choice in choices] for problem in drawn])
    # four instants place a step of at most 1.93 to an eighth, and the mean over six devices' steps to a third of that
    np.testing.assert_allclose(mec.problem(slot).rewards(choices), scored.mean(axis=0), atol=0.08)
    alone = Mec(msgspec.structs.replace(scenario, jobs_per_s=0.0), profile).problem(slot)
    assert mec.problem(slot).rewards(choices[:1]) < alone.rewards(choices[:1])


def test_the_reward_is_the_mean_over_what_edges_may_give(profile: Profile) -> None:
    scenario = Scenario(devices=3, edges=1, estimate_error=0.0)
    mec, slot = Mec(scenario, profile), Slots(scenario, 0)[0]
    draw = np.random.default_rng(0)
    choices = random_choices(mec.problem(slot), 8)
    drawn = [
        slot._replace(edge_flops_per_s=scenario.edge_flops_per_s * draw.uniform(scenario.available_min, 1, 1))
        for _ in range(300)
    ]
    scored = np.array([[mec.problem(one).scored(choice).reward.mean() for choice in choices] for one in drawn])
    # eight midpoints place a step of at most 1.93 (from accuracy to penalty) to a sixteenth, beside the drawing's error
    np.testing.assert_allclose(mec.problem(slot).rewards(choices), scored.mean(axis=0), atol=0.12)


def test_each_candidate_is_judged_by_itself(profile: Profile) -> None:
    (problem,) = problems(Scenario(), profile, 1)
    choices = random_choices(problem, 30)
    one_by_one = [problem.rewards(choice[None])[0] for choice in choices]
    np.testing.assert_allclose(problem.rewards(choices), one_by_one, atol=2e-4)


def test_the_shares_of_an_edge_sum_to_one_and_local_devices_have_none(profile: Profile) -> None:
    (problem,) = problems(Scenario(devices=12, edges=3), profile, 1)
    choices = random_choices(problem, 10)
    edge = problem.terms.menu.edge[choices]
    for resource in problem.completions(choices)[1]:
        assert (resource[edge < 0] == 0).all() and (resource[edge >= 0] > 0).all()
        for number in range(3):
            total = np.where(edge == number, resource, 0.0).sum(axis=1)
            np.testing.assert_allclose(total[(edge == number).any(axis=1)], 1.0)


def test_the_order_of_devices_does_not_matter(profile: Profile) -> None:
    scenario = Scenario()
    slot = Slots(scenario, 0)[0]
    order = np.random.default_rng(1).permutation(scenario.devices)
    by_edge = {"edge_flops_per_s", "edge_backlog_s"}
    shuffled = Slot(**{name: part if name in by_edge else part[order] for name, part in slot._asdict().items()})
    mec = Mec(scenario, profile)
    one, other = mec.problem(slot), mec.problem(shuffled)
    choices = random_choices(one, 10)
    np.testing.assert_allclose(other.rewards(choices[:, order]), one.rewards(choices), atol=2e-4)
    np.testing.assert_array_equal(other.graph.edges, one.graph.edges[order])
    np.testing.assert_array_equal(other.graph.devices, one.graph.devices[order])


@pytest.mark.parametrize(("devices", "edges"), [(1, 1), (10, 2), (50, 5), (200, 5)])
def test_features_are_of_one_scale_whatever_the_size(profile: Profile, devices: int, edges: int) -> None:
    (problem,) = problems(Scenario(devices=devices, edges=edges), profile, 1)
    graph, options = problem.graph, 1 + edges * (len(profile.rows) - 1)
    assert graph.devices.shape == (devices, DEVICE_FEATURES)
    assert graph.options.shape == (options, OPTION_FEATURES)
    assert graph.edges.shape == (devices, options, EDGE_FEATURES)
    assert graph.allowed.all() and graph.allowed.shape == (devices, options)
    for part in graph[:3]:
        assert part.dtype == np.float32 and np.isfinite(part).all() and np.abs(part).max() <= BOUND


def test_no_allocation_betters_having_an_edge_to_oneself(profile: Profile) -> None:
    for problem in problems(Scenario(devices=5), profile, 5):
        choices = random_choices(problem, 50)
        bound = problem.highest_rewards[np.arange(5), choices].mean(axis=1)
        assert (problem.rewards(choices) <= bound + 1e-9).all()


def test_the_options_are_the_profiles_considered_rows_at_every_edge(profile: Profile) -> None:
    mec = Mec(Scenario(edges=3), profile.considered(["aecnn"]))
    kinds = [decision.option.kind for decision in mec.menu.decisions]
    assert kinds == [Kind.LOCAL] + [Kind.SPLIT] * 6
    assert [decision.edge for decision in mec.menu.decisions] == [None, *["edge1", "edge2", "edge3"] * 2]


def test_a_dead_channel_passes_nothing_in_time_and_breaks_nothing(profile: Profile) -> None:
    scenario = Scenario(devices=4)
    slot = Slots(scenario, 0)[0]
    dead = slot._replace(gains=slot.gains * 0, estimated_gains=slot.estimated_gains * 0)
    problem = Mec(scenario, profile).problem(dead)
    choice = np.full(4, 2)
    outcome = problem.scored(choice)
    assert not outcome.on_time.any() and np.isfinite(outcome.completion_s).all()
    assert problem.rewards(choice[None])[0] == pytest.approx(-scenario.psi - 2 * SOONER)
    assert math.isfinite(problem.graph.edges.sum())


def test_a_scenario_is_read_from_a_file_as_it_was_written() -> None:
    scenario = Scenario(devices=20, deadline_s=(0.08, 0.2))
    assert msgspec.json.decode(msgspec.json.encode(scenario), type=Scenario) == scenario


def test_an_option_that_asks_nothing_of_the_edge_is_only_sent_there(profile: Profile) -> None:
    jpeg = msgspec.structs.replace(profile.rows[2], decode_flops=0.0, tail_flops=0.0)
    mec = Mec(Scenario(devices=2, edges=1), msgspec.structs.replace(profile, rows=(profile.rows[0], jpeg)))
    problem = mec.problem(Slots(mec.scenario, 0)[0])
    completion_s, _ = problem.completions(np.array([[1, 1], [1, 0]]))
    assert np.isfinite(completion_s).all()
