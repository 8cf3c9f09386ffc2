"""Slots as a gymnasium environment, for the learners of other libraries."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from testbed.jobs.profile import Profile
from testbed.offloading.features import BOUND, DEVICE_FEATURES, EDGE_FEATURES, OPTION_FEATURES
from testbed.offloading.mec import Mec
from testbed.offloading.problem import Choices, Floats, Graph
from testbed.offloading.scenario import Scenario, Slots


class OffloadingEnv(gymnasium.Env[Floats, Choices]):
    """A step decides one slot for all devices; its reward is what came of it, the mean over the devices.

    Observations are the features of the slot's graph laid flat: the devices', then the options', then those of every
    pair. Actions are the numbers of the devices' options, from 0 (`decisions` says which they are). An episode is a
    seeded sequence of slots, cut off (truncated) after `episode_slots`; nothing in it depends on earlier actions.

    `info` of a step: `success` (the share of devices on time), `accuracy` (0 for a late one) and `energy_j`, means
    over the devices, and `estimated_reward`, what the system model promised.
    """

    def __init__(self, scenario: Scenario, profile: Profile, episode_slots: int = 100) -> None:
        if episode_slots < 1:
            raise ValueError("an episode has at least one slot")
        self.scenario = scenario
        self.episode_slots = episode_slots
        self._mec = Mec(scenario, profile)
        devices, options = scenario.devices, len(self._mec.menu)
        size = devices * DEVICE_FEATURES + options * OPTION_FEATURES + devices * options * EDGE_FEATURES
        self.observation_space = gymnasium.spaces.Box(-BOUND, BOUND, (size,), np.float32)
        self.action_space = gymnasium.spaces.MultiDiscrete(np.full(devices, options))
        self.decisions = self._mec.menu.decisions

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """A new sequence of slots, drawn from the seed or, without one, from where the last seed's numbers stand."""
        super().reset(seed=seed)
        self._slots = Slots(self.scenario, int(self.np_random.integers(2**31)))
        self._t = 0
        return self._next(), {}

    def step(self, action: Choices) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Decides the slot that was observed last, and shows the next."""
        choice = np.asarray(action, dtype=np.int64)
        outcome = self._problem.scored(choice)
        info = {
            "success": float(outcome.on_time.mean()),
            "accuracy": float(outcome.accuracy.mean()),
            "energy_j": float(outcome.energy_j.mean()),
            "estimated_reward": float(self._problem.rewards(choice[None])[0]),
        }
        return self._next(), float(outcome.reward.mean()), False, self._t > self.episode_slots, info

    def _next(self) -> Floats:
        self._problem = self._mec.problem(self._slots[self._t])
        self._t += 1
        return _flat(self._problem.graph)


def _flat(graph: Graph) -> Floats:
    return np.concatenate([graph.devices.ravel(), graph.options.ravel(), graph.edges.ravel()])
