"""The policies `grl` and `droo` of a run: a trained actor that decides slots for real, judged by the model."""

from __future__ import annotations

from pathlib import Path

from testbed.offloading.actors import load_actor
from testbed.offloading.errors import PolicyError
from testbed.offloading.grl import Switches
from testbed.offloading.learner import Actor, decide
from testbed.offloading.observed import ObservedMec, ObservedProblem
from testbed.offloading.slots import Assignment, SlotObservation

DATA = Path(__file__).parent / "data"

FEATURES = 1
"""The version of what actors see (`features`): one that was trained on another is refused."""


class Trained:
    """Decides slots with a trained actor of a kind: the one of the file `policy`, or the shipped one.

    `grl` has one for all sizes; `droo`, one for each size that it was trained at.

    Raises:
        PolicyError: the file is no policy of this kind.
    """

    def __init__(self, kind: str, policy: str = "default") -> None:
        self.kind, self.policy = kind, policy
        self._mec = ObservedMec()
        self._search = Switches(seed=0)
        self._shipped: dict[Path, Actor] = {}
        self._own = None if policy == "default" else load_policy(Path(policy), kind)

    def decide_slot(self, observation: SlotObservation) -> dict[str, Assignment]:
        """The best of what the actor and its search suggest.

        Raises:
            PolicyError: it was not trained for as many devices, edges or options; somebody can decide nothing.
        """
        problem = self._mec.problem(observation)
        actor = self._own or self._shipped_for(problem)
        return problem.assignments(decide(actor, self._search, problem).choice)

    def _shipped_for(self, problem: ObservedProblem) -> Actor:
        path = shipped(self.kind, len(problem.terms.deadline_s), len(problem.terms.edge_flops_per_s))
        if path not in self._shipped:
            self._shipped[path] = load_policy(path, self.kind)
        return self._shipped[path]


def shipped(kind: str, devices: int, edges: int) -> Path:
    """The file of the policy that comes with the testbed for so many.

    Raises:
        PolicyError: there is none.
    """
    if kind == "grl":
        return DATA / "grl.safetensors"
    path = DATA / f"{kind}-{devices}x{edges}.safetensors"
    if not path.exists():
        sizes = ", ".join(sorted(found.stem.removeprefix(f"{kind}-") for found in DATA.glob(f"{kind}-*.safetensors")))
        raise PolicyError(
            f"{kind} decides only for as many devices and edges as it was trained with; those shipped are for {sizes}, "
            f"and there are {devices}x{edges}: train one (testbed train policy) and name it (policy: FILE), or use grl"
        )
    return path


def load_policy(path: Path, kind: str) -> Actor:
    """The actor of a policy's file.

    Raises:
        PolicyError: it cannot be read, or is of another kind or version.
    """
    actor, description = load_actor(path)
    if description.kind != kind:
        raise PolicyError(f"{path}: a policy of the kind {description.kind}, not {kind}")
    if description.about.get("features") != FEATURES:
        raise PolicyError(f"{path}: trained on other features than this version has; train it anew")
    return actor
