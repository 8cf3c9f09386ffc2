"""Policies judged on slots that are the same for all of them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from testbed.jobs.profile import Profile
from testbed.offloading.mec import Mec, MecProblem
from testbed.offloading.problem import Choices
from testbed.offloading.scenario import Scenario, Slots


class Judged(msgspec.Struct, frozen=True):
    """What became of the jobs of one seed's slots, as means."""

    reward: float  # as it came
    estimated_reward: float  # by the model, when deciding
    accuracy: float  # a late job counts 0
    success: float  # share on time
    throughput_per_s: float  # jobs on time, of all devices together
    energy_j: float  # of a device


def judge(
    choose: Callable[[MecProblem], Choices], profile: Profile, scenario: Scenario, seed: int, slots: int
) -> Judged:
    """What comes of a way to choose, on the first slots of a seed.

    Raises:
        PolicyError: it cannot decide for such a scenario.
    """
    model, drawn = Mec(scenario, profile), Slots(scenario, seed)
    rows = []
    for number in range(slots):
        problem = model.problem(drawn[number])
        choice = choose(problem)
        outcome = problem.scored(choice)
        success = outcome.on_time.mean()
        rows.append(
            (
                outcome.reward.mean(),
                problem.rewards(choice[None])[0],
                outcome.accuracy.mean(),
                success,
                success * scenario.devices / scenario.slot_s,
                outcome.energy_j.mean(),
            )
        )
    return Judged(*(float(mean) for mean in np.mean(rows, axis=0)))
