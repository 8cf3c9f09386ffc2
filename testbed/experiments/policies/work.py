"""The experiment's work, each piece kept on disk when it is done: trainings, and judgings of what was trained."""

from __future__ import annotations

import ctypes
import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from testbed.experiments.policies.judging import Judged, judge
from testbed.experiments.policies.methods import CHOOSERS, Method
from testbed.experiments.policies.settings import JUDGED_SEED, LEARNING
from testbed.jobs.profile import Profile
from testbed.offloading.grl import Switches
from testbed.offloading.learner import decide
from testbed.offloading.mec import MecProblem
from testbed.offloading.problem import Choices
from testbed.offloading.scenario import Scenario
from testbed.offloading.slot_baselines import ExhaustiveChooser
from testbed.offloading.trained import load_policy

Told = Callable[[str, float, str], None]
_PR_SET_PDEATHSIG = 1


class Training(msgspec.Struct, frozen=True):
    """A learner trained on a scenario, by a seed."""

    method: Method
    profile: Profile  # of what it may choose from
    scenario: Scenario
    seed: int
    slots: int
    shares: tuple[float, ...] = (1.0,)  # of the scenario's band and edge compute, that slots have in turn

    def done(self, output: Path) -> Path:
        """Trains, or goes on; the policy's file. Raises PolicyError, OSError."""
        import torch

        from testbed.offloading.training.config import PolicyConfig
        from testbed.offloading.training.run import PolicyTraining

        torch.set_num_threads(1)
        assert self.method.learner is not None
        config = PolicyConfig(
            self.method.learner,
            self.slots,
            scenario=self.scenario,
            variations=tuple(self._with(share) for share in self.shares),
            encodings=self.profile.encodings,
            learning=LEARNING,
            seed=self.seed,
        )
        folder = output / "trained" / f"{self.method.short}-{self.scenario.devices}-{self.seed}-{_digest(self)}"
        policy = folder / "policy.safetensors"
        return policy if policy.exists() else PolicyTraining(config, self.profile, folder, _nobody).train()

    def _with(self, share: float) -> dict[str, float]:
        return {
            "bandwidth_hz": share * self.scenario.bandwidth_hz,
            "edge_flops_per_s": share * self.scenario.edge_flops_per_s,
        }


class Judging(msgspec.Struct, frozen=True):
    """A method judged on a scenario's slots of a seed; a learner, as it was trained."""

    method: Method | None  # None: the best of all decisions
    profile: Profile
    scenario: Scenario
    seed: int
    slots: int
    training: Training | None = None

    def done(self, output: Path) -> Judged:
        """Judges, or reads what came of it before. Raises PolicyError, OSError."""
        path = output / "judged" / f"{_digest(self)}.json"
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=Judged)
        choose = self._chooser(output)
        judged = judge(choose, self.profile, self.scenario, JUDGED_SEED + self.seed, self.slots)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(msgspec.json.encode(judged))
        part.replace(path)
        return judged

    def _chooser(self, output: Path) -> Callable[[MecProblem], Choices]:
        if self.method is None:
            return ExhaustiveChooser().choose
        if self.training is None:
            return CHOOSERS[self.method.name](self.seed).choose
        actor = load_policy(self.training.done(output), self.training.method.learner or "")
        search = Switches(self.seed)
        return lambda problem: decide(actor, search, problem).choice


Piece = TypeVar("Piece", Training, Judging)


def do_all(pieces: Sequence[Piece], output: Path, processes: int, told: Callable[[int], None]) -> list[Any]:
    """What comes of all pieces, in their order; `told` hears how many are done."""
    results: list[Any] = [None] * len(pieces)
    if processes == 1:
        for number, piece in enumerate(pieces):
            results[number] = piece.done(output)
            told(number + 1)
        return results
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # each process has one core
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _end_with_parent) as pool:
        waiting = {pool.submit(piece.done, output): number for number, piece in enumerate(pieces)}
        try:
            for count, future in enumerate(as_completed(waiting)):
                results[waiting[future]] = future.result()
                told(count + 1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.kill()  # what it had under way goes on next time
            raise
    return results


def _end_with_parent() -> None:
    """A worker of a killed experiment would wait for work for ever."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _digest(piece: Training | Judging) -> str:
    return hashlib.sha256(msgspec.json.encode(piece)).hexdigest()[:12]


def _nobody(stage: str, done: float, note: str, **figures: float) -> None:
    """Workers tell when they are done."""
