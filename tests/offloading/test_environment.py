"""The gymnasium environment."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from testbed.jobs.profile import Profile
from testbed.offloading.environment import OffloadingEnv
from testbed.offloading.scenario import Scenario

SCENARIO = Scenario(devices=4)


def test_it_passes_gymnasiums_checker(profile: Profile) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(OffloadingEnv(SCENARIO, profile), skip_render_check=True)


def test_an_episode_is_cut_off_after_its_slots(profile: Profile) -> None:
    env = OffloadingEnv(SCENARIO, profile, episode_slots=5)
    env.reset(seed=1)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]


def test_what_is_decided_changes_rewards_but_not_the_slots(profile: Profile) -> None:
    observations, rewards = [], []
    for option in (0, 2):
        env = OffloadingEnv(SCENARIO, profile)
        first, _ = env.reset(seed=3)
        steps = [env.step(np.full(4, option)) for _ in range(4)]
        observations.append(np.stack([first, *(step[0] for step in steps)]))
        rewards.append([step[1] for step in steps])
    np.testing.assert_array_equal(*observations)
    assert rewards[0] != rewards[1]


def test_info_tells_success_accuracy_energy_and_what_was_promised(profile: Profile) -> None:
    env = OffloadingEnv(SCENARIO, profile)
    env.reset(seed=0)
    for _ in range(10):
        _, reward, _, _, info = env.step(env.action_space.sample())
        assert set(info) == {"success", "accuracy", "energy_j", "estimated_reward"}
        assert 0 <= info["accuracy"] <= info["success"] <= 1 and info["energy_j"] > 0
        assert -1 <= reward <= info["accuracy"]


def test_many_environments_step_at_once_each_on_its_own_seed(profile: Profile) -> None:
    many = gymnasium.vector.SyncVectorEnv([lambda: OffloadingEnv(SCENARIO, profile)] * 3)
    observations, _ = many.reset(seed=[1, 2, 1])
    alone, _ = OffloadingEnv(SCENARIO, profile).reset(seed=1)
    np.testing.assert_array_equal(observations[0], observations[2])
    np.testing.assert_array_equal(observations[0], alone)
    assert not np.array_equal(observations[0], observations[1])
    actions = np.zeros((3, 4), dtype=np.int64)
    _, rewards, _, _, _ = many.step(actions)
    assert rewards.shape == (3,) and rewards[0] == rewards[2]


def test_an_episode_without_slots_is_refused(profile: Profile) -> None:
    with pytest.raises(ValueError, match="at least one"):
        OffloadingEnv(SCENARIO, profile, episode_slots=0)


def test_stable_baselines3_trains_on_it(profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SB3_LOGDIR", str(tmp_path))  # else a folder of its own under /tmp
    sb3 = pytest.importorskip("stable_baselines3", reason="the optional extra sb3 is not installed")
    env = OffloadingEnv(SCENARIO, profile)
    model = sb3.PPO("MlpPolicy", env, n_steps=64, batch_size=32, n_epochs=2, seed=0, device="cpu")
    before = model.policy.state_dict()["action_net.weight"].clone()
    model.learn(128)
    assert not before.equal(model.policy.state_dict()["action_net.weight"])
    observation, _ = env.reset(seed=0)
    action, _ = model.predict(observation, deterministic=True)
    assert env.action_space.contains(action)
