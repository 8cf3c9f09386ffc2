"""The training file of a policy: what it learns from, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from testbed.offloading.errors import PolicyError
from testbed.offloading.learner import Learning
from testbed.offloading.scenario import Scenario


class PolicyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A training."""

    learner: Literal["grl", "droo"]
    slots: int  # learnt from
    scenario: Scenario = Scenario()
    variations: tuple[dict[str, Any], ...] = ()  # fields of the scenario: slots are of these in turn
    checkpoint: str = "default"  # whose profile says what options cost and are worth
    encodings: tuple[str, ...] | None = None  # of the options; not given: all that are not there for comparison
    learning: Learning = Learning()
    seed: int = 1
    save_every: int = 200  # slots; a training that is killed loses no more

    def __post_init__(self) -> None:
        if min(self.slots, self.save_every, self.learning.every, self.learning.batch, self.learning.memory) < 1:
            raise ValueError("slots, save_every, and learning's every, batch and memory must be at least 1")
        if self.learning.learning_rate <= 0:
            raise ValueError("learning's learning_rate must be above 0")
        sizes = {(scenario.devices, scenario.edges) for scenario in self.scenarios}
        if self.learner == "droo" and len(sizes) > 1:
            raise ValueError("droo has one size for good: variations must not change devices and edges; grl's may")

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """What slots are of, in turn.

        Raises:
            ValueError: a variation does not make a scenario.
        """
        return tuple(self._varied(number) for number in range(len(self.variations))) or (self.scenario,)

    def _varied(self, number: int) -> Scenario:
        try:
            return msgspec.convert(msgspec.to_builtins(self.scenario) | self.variations[number], Scenario)
        except msgspec.ValidationError as error:
            raise ValueError(f"variations[{number}]: {error}") from None


def load_policy_config(path: Path, **changed: Any) -> PolicyConfig:
    """Reads a training file, fields that are `changed` put in place of its own.

    Raises:
        PolicyError: naming the file and the field.
    """
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(read | changed if isinstance(read, dict) else read, PolicyConfig)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise PolicyError(f"{path}: {' '.join(str(error).split())}") from None
