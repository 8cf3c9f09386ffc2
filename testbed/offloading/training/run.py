"""The training of a policy in a folder: kept as it goes, so that a killed one goes on exactly where it was."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import numpy as np

from testbed.aecnn.training.progress import Progress
from testbed.jobs.profile import Profile
from testbed.offloading.actors import KINDS, save_actor
from testbed.offloading.errors import PolicyError
from testbed.offloading.learner import Learner
from testbed.offloading.making import check_encodings
from testbed.offloading.mec import Mec, MecProblem
from testbed.offloading.scenario import Slots
from testbed.offloading.trained import FEATURES
from testbed.offloading.training.config import PolicyConfig
from testbed.offloading.training.searching import Thorough

TOLD_EVERY = 20
"""Slots between two tellings of progress, which gives means over the last hundred."""


class Curve(msgspec.Struct, frozen=True):
    """How a training went; rewards are the means over a slot's devices, by the model."""

    rewards: list[float]  # of the actor's own decision, slot by slot
    targets: list[float]  # of the decision that it was taught
    losses: list[float]  # cross-entropy, nats a device, one a step


class PolicyTraining:
    """One training in one folder.

    Raises:
        PolicyError: the folder holds a training with another configuration, or the profile lacks what it names.
    """

    def __init__(self, config: PolicyConfig, profile: Profile, output: Path, progress: Progress) -> None:
        check_encodings(config.encodings, profile)
        self.config, self.output, self.progress = config, output, progress
        self.profile = profile.considered(config.encodings)
        self.models = [Mec(scenario, self.profile) for scenario in config.scenarios]
        self.slots = [Slots(scenario, config.seed) for scenario in config.scenarios]
        like = self._problem(0).graph
        actor = KINDS[config.learner].drawn(like, config.seed)
        self.learner = Learner(actor, Thorough(), config.learning, config.seed)
        output.mkdir(parents=True, exist_ok=True)
        self._claim(output / "config.json")

    def train(self) -> Path:
        """Learns from what slots are left; returns the path of the policy. Beside it lies `curve.json`."""
        state, curve = self.output / "state.safetensors", self.output / "curve.json"
        rewards: list[float] = []
        targets: list[float] = []
        if state.exists():
            self.learner.restore(state)
            read = msgspec.json.decode(curve.read_bytes(), type=Curve)
            rewards, targets = read.rewards[: self.learner.slots], read.targets[: self.learner.slots]
        for slot in range(self.learner.slots, self.config.slots):
            decided = self.learner.learn(self._problem(slot))
            rewards.append(decided.own_reward)
            targets.append(decided.reward)
            last = slot + 1 == self.config.slots
            if last or (slot + 1) % self.config.save_every == 0:
                _write(curve, Curve(rewards, targets, self.learner.losses))  # first: it may have more than the state
                self.learner.save(state)
            if last or (slot + 1) % TOLD_EVERY == 0:
                self._tell(slot + 1, rewards, targets)
        return self._policy()

    def _problem(self, slot: int) -> MecProblem:
        kinds = len(self.models)
        return self.models[slot % kinds].problem(self.slots[slot % kinds][slot])

    def _tell(self, done: int, rewards: list[float], targets: list[float]) -> None:
        reward, target = float(np.mean(rewards[-100:])), float(np.mean(targets[-100:]))
        figures = {"reward": reward, "taught": target}
        if self.learner.losses:
            figures["loss"] = self.learner.losses[-1]
        note = f"reward {reward:.3f} of {target:.3f} taught"
        self.progress(self.config.learner, done / self.config.slots, note, step=done, **figures)

    def _policy(self) -> Path:
        path = self.output / "policy.safetensors"
        about = {
            "config": msgspec.to_builtins(self.config),
            "profile": self.profile.checkpoint,
            "options": [str(row.option) for row in self.profile.rows],
            "features": FEATURES,
        }
        save_actor(path, self.learner.actor, about)  # type: ignore[arg-type]
        return path

    def _claim(self, path: Path) -> None:
        encoded = msgspec.json.encode({"config": self.config, "profile": self.profile})
        if path.exists() and path.read_bytes() != encoded:
            raise PolicyError(
                f"{self.output}: holds a training with another configuration or profile; give another folder"
            )
        path.write_bytes(encoded)


def _write(path: Path, curve: Curve) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(msgspec.json.encode(curve))
    part.replace(path)


def learning_curve(curve: Curve, every: int = 100) -> list[tuple[int, float]]:
    """Slots learnt from, and the mean reward of the actor's own decisions over the `every` slots before."""
    ends = itertools.takewhile(lambda end: end <= len(curve.rewards), itertools.count(every, every))
    return [(end, float(np.mean(curve.rewards[end - every : end]))) for end in ends]
