"""The experiment on policies: learners trained, everybody judged on the same slots, claims beside what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import msgspec

from testbed.experiments.policies.methods import DROO, METHODS, OURS, Method, encodings_of, reduced
from testbed.experiments.policies.outcomes import AT_DEFAULTS, AT_OPTIMUM, EXHAUSTIVE, Outcome, Outcomes
from testbed.experiments.policies.report import Curves, report, write
from testbed.experiments.policies.settings import DEFAULTS, DEVICES, OPTIMUM, SHARES, Point, Settings
from testbed.experiments.policies.work import Judging, Told, Training, do_all
from testbed.experiments.report import Made
from testbed.experiments.tables import Table
from testbed.jobs.decision import Kind
from testbed.jobs.profile import Profile
from testbed.offloading.scenario import Scenario
from testbed.offloading.training.run import Curve, learning_curve


class Asked(msgspec.Struct, frozen=True):
    """One judging, and where in the outcomes it belongs."""

    sweep: str
    value: float
    method: str
    judging: Judging


def reproduce(
    profile: Profile, settings: Settings, output: Path, processes: int, told: Told, more: Sequence[Table] = ()
) -> Made:
    """Train, judge and report below `output`, where what a killed experiment did is not done again.

    Raises:
        PolicyError, OSError: a folder holds something else, or cannot be written.
    """
    plan = _Plan(profile, settings)
    asked = plan.judgings()
    trainings = list(dict.fromkeys(one.judging.training for one in asked if one.judging.training))
    do_all(trainings, output, processes, lambda done: _tell(told, "training", done, len(trainings)))
    judged = do_all(
        [one.judging for one in asked], output, processes, lambda done: _tell(told, "judging", done, len(asked))
    )
    outcomes = Outcomes(
        tuple(
            Outcome(
                one.sweep,
                one.value,
                one.method,
                one.judging.training.scenario.devices if one.judging.training else None,
                one.judging.seed,
                figures,
            )
            for one, figures in zip(asked, judged, strict=True)
        )
    )
    made = report(outcomes, plan.left_out, plan.heading, more)
    return Made(made, write(made, outcomes, _curves(trainings, output), output))


class _Plan:
    """What is to be judged, of a profile and settings."""

    def __init__(self, profile: Profile, settings: Settings) -> None:
        self.settings = settings
        self.profiles: dict[str, Profile] = {}
        self.left_out: list[tuple[str, str]] = []
        for method in METHODS:
            encodings = encodings_of(method, profile)
            if encodings is None:
                wanted = " or ".join(method.beside)
                self.left_out.append((method.name, f"the checkpoint's profile has no options of {wanted}"))
            else:
                self.profiles[method.name] = profile.considered(encodings)
        self.methods = [method for method in METHODS if method.name in self.profiles]
        self.small = reduced(self.profiles.get(OURS, profile), OPTIMUM.devices, OPTIMUM.edges)
        self._whole = profile

    @property
    def heading(self) -> str:
        """What was done, in words."""
        settings = self.settings
        splits = sum(row.option.kind is Kind.SPLIT for row in self.profiles[OURS].rows) if OURS in self.profiles else 0
        kept = sum(row.option.kind is Kind.SPLIT for row in self.small.rows)
        menu = "all" if kept == splits else f"{kept} (evenly spaced by bytes, so that all decisions can be tried)"
        seeds = ", ".join(map(str, settings.seeds))
        shares = ", ".join(f"{share:g}" for share in SHARES)
        return (
            f"Seeds {seeds}. Each seed trains learners on {settings.training_slots} slots (at the defaults, in turn "
            f"with {shares} of the edges' band and compute) and judges everybody on {settings.judged_slots} others, "
            "the same for all, of every scenario. Bytes, FLOPs and accuracies are those of the profile of checkpoint "
            f"{self._whole.checkpoint[:12]}. Where the best of all decisions is "
            f"found, {menu} of the {splits} split points of AECNN are there. Intervals are 95 %."
        )

    def judgings(self) -> list[Asked]:
        """All, in the order of the report."""
        points = (Point(AT_DEFAULTS, 0, DEFAULTS), *self.settings.points)
        asked = []
        for point, method, seed in product(points, self.methods, self.settings.seeds):
            training = self._training(method, DEFAULTS, seed)
            if method.name == DROO and point.scenario.devices != DEFAULTS.devices:
                if not self.settings.droo_sizes:
                    continue
                training = self._training(method, point.scenario, seed)
            asked.append(self._asked(point, method, seed, training))
        for size, seed in product(self.settings.sizes, self.settings.seeds):
            for method in (method for method in self.methods if method.name == OURS):
                scenario = msgspec.structs.replace(DEFAULTS, devices=size)
                point = Point(DEVICES, size, scenario)
                asked.append(self._asked(point, method, seed, self._training(method, scenario, seed)))
        return asked + self._optimum()

    def _optimum(self) -> list[Asked]:
        asked = []
        for seed in self.settings.seeds:
            tried: list[tuple[str, Method | None, Training | None]] = [(EXHAUSTIVE, None, None)]
            for method in (method for method in self.methods if method.name == OURS):
                there = Training(method, self.small, OPTIMUM, seed, self.settings.training_slots)
                tried += [(OURS, method, there), (OURS, method, self._training(method, DEFAULTS, seed))]
            for name, one, training in tried:
                judging = Judging(one, self.small, OPTIMUM, seed, self.settings.judged_slots, training)
                asked.append(Asked(AT_OPTIMUM, OPTIMUM.devices, name, judging))
        return asked

    def _asked(self, point: Point, method: Method, seed: int, training: Training | None) -> Asked:
        profile = self.profiles[method.name]
        judging = Judging(method, profile, point.scenario, seed, self.settings.judged_slots, training)
        return Asked(point.sweep, point.value, method.name, judging)

    def _training(self, method: Method, scenario: Scenario, seed: int) -> Training | None:
        if method.learner is None:
            return None
        training = Training(method, self.profiles[method.name], scenario, seed, self.settings.training_slots)
        return msgspec.structs.replace(training, shares=SHARES) if scenario == DEFAULTS else training


def _curves(trainings: Sequence[Training], output: Path) -> Curves:
    curves: Curves = {}
    for training in trainings:
        if training.scenario == DEFAULTS:
            curve = msgspec.json.decode((training.done(output).parent / "curve.json").read_bytes(), type=Curve)
            curves.setdefault(training.method.name, []).append(learning_curve(curve))
    return curves


def _tell(told: Told, stage: str, done: int, of: int) -> None:
    told(stage, done / of, f"{done} of {of}")
