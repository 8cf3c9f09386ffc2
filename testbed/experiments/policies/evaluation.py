"""A policy's file evaluated: what it comes to on its own scenario, beside who learnt nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from safetensors import SafetensorError, safe_open

from testbed.experiments.policies.judging import Judged, judge
from testbed.experiments.policies.methods import CHOOSERS
from testbed.experiments.policies.settings import JUDGED_SEED
from testbed.jobs.profile import Profile
from testbed.offloading.actors import load_actor
from testbed.offloading.errors import PolicyError
from testbed.offloading.grl import Switches
from testbed.offloading.learner import decide
from testbed.offloading.mec import MecProblem
from testbed.offloading.problem import Choices
from testbed.offloading.scenario import Scenario
from testbed.offloading.trained import load_policy
from testbed.offloading.training.config import PolicyConfig


class Evaluated(msgspec.Struct, frozen=True):
    """What a policy came to; the figures are means over the slots."""

    policy: str
    kind: str
    profile: str  # SHA-256 of the checkpoint that options were measured of
    scenario: Scenario
    slots: int
    results: dict[str, Judged]  # by policy: this one, then those that learn nothing


def is_policy(path: Path) -> bool:
    """Whether a file is a policy's rather than a checkpoint's."""
    try:
        with safe_open(path, "np") as file:
            return "actor" in (file.metadata() or {}).get("format", "")
    except (OSError, SafetensorError):
        return False


def config_of(path: Path) -> PolicyConfig:
    """The settings that a policy was trained with.

    Raises:
        PolicyError: its file does not say.
    """
    _, description = load_actor(path)
    try:
        return msgspec.convert(description.about.get("config"), PolicyConfig)
    except msgspec.ValidationError as error:
        raise PolicyError(f"{path}: does not say how it was trained: {error}") from None


def evaluate_policy(path: Path, profile: Profile, slots: int, progress: Callable[[float], None]) -> Evaluated:
    """Judges a policy on slots that it did not learn from, of the scenario that it was trained for.

    Raises:
        PolicyError: it is no policy, or cannot decide among the profile's options.
    """
    config, (_, description) = config_of(path), load_actor(path)
    actor, search = load_policy(path, description.kind), Switches(config.seed)
    considered = profile.considered(config.encodings)
    choosers: dict[str, Callable[[MecProblem], Choices]] = {
        description.kind: lambda problem: decide(actor, search, problem).choice
    }
    choosers |= {name: chooser(config.seed).choose for name, chooser in CHOOSERS.items()}
    results = {}
    for number, (name, choose) in enumerate(choosers.items()):
        results[name] = judge(choose, considered, config.scenario, JUDGED_SEED + config.seed, slots)
        progress((number + 1) / len(choosers))
    return Evaluated(str(path), description.kind, profile.checkpoint, config.scenario, slots, results)
