"""What learners are compared with: choosers of a slot's decision that learn nothing."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from testbed.jobs.decision import LOCAL, Kind
from testbed.offloading.errors import PolicyError
from testbed.offloading.problem import Choices
from testbed.offloading.system_model import OffloadingProblem

EXHAUSTIVE_LIMIT = 10_000_000
_AT_ONCE = 4096  # candidates judged by one call
_LIKELY = 256  # decisions judged first, the most promising: what they are worth rules most others out


class Chooser(Protocol):
    """Decides slots, one after another."""

    def choose(self, problem: OffloadingProblem) -> Choices:
        """`[U]`: the number of the option of each device; every one is allowed."""
        ...


class LocalChooser:
    """Computes everything on its own device."""

    def choose(self, problem: OffloadingProblem) -> Choices:
        """Local for all.

        Raises:
            PolicyError: the profile has no local option.
        """
        options = [decision.option for decision in problem.decisions]
        if LOCAL not in options:
            raise PolicyError("the profile has no local option")
        return np.full(len(problem.terms.deadline_s), options.index(LOCAL))


class FullChooser:
    """Offloads photographs whole, each to the edge and in the form with the shortest completion at an equal share.

    A device that reaches no edge computes locally.
    """

    def choose(self, problem: OffloadingProblem) -> Choices:
        """The fastest full option of each device.

        Raises:
            PolicyError: the profile has no full option.
        """
        kinds = [decision.option.kind for decision in problem.decisions]
        if Kind.FULL not in kinds:
            raise PolicyError("the profile has no option to offload whole photographs")
        avoided = np.array([{Kind.FULL: 0.0, Kind.LOCAL: 1e6, Kind.SPLIT: 1e9}[kind] for kind in kinds])
        taken_s = problem.equal_shares.completion_s + avoided
        choice: Choices = np.where(problem.terms.allowed, taken_s, np.inf).argmin(axis=1)
        return choice


class RandomChooser:
    """Draws each device's option evenly from what is allowed."""

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)

    def choose(self, problem: OffloadingProblem) -> Choices:
        """The next draw."""
        allowed = problem.terms.allowed
        choice: Choices = np.where(allowed, self._draw.random(allowed.shape), -1.0).argmax(axis=1)
        return choice


class GreedyChooser:
    """Each device for itself, as the policy `greedy`: the best accuracy that an equal share gets there in time.

    Ties go to the shortest completion, and so does a device for which nothing is in time.
    """

    def choose(self, problem: OffloadingProblem) -> Choices:
        """The best option of each device, if all are spread evenly over the edges."""
        equal = problem.equal_shares
        in_time = equal.completion_s <= problem.terms.deadline_s[:, None]
        worth = np.where(in_time, problem.terms.menu.accuracy, 0.0)
        worth[~problem.terms.allowed] = -1.0
        best = worth >= worth.max(axis=1, keepdims=True)
        choice: Choices = np.where(best, equal.completion_s, np.inf).argmin(axis=1)
        return choice


class ExhaustiveChooser:
    """The decision with the highest reward of all, A to the power of U of them: for few devices.

    None is left out but those whose devices, each with an edge of its own, could not reach together what a decision
    already found is worth: the result is exact.
    """

    def choose(self, problem: OffloadingProblem) -> Choices:
        """The optimum of `problem.rewards`.

        Raises:
            PolicyError: there are more than ten million decisions.
        """
        bounds = np.where(problem.terms.allowed, problem.highest_rewards, -np.inf)
        devices, options = bounds.shape
        if options**devices > EXHAUSTIVE_LIMIT:
            raise PolicyError(f"{options} options for {devices} devices are too many decisions to try them all")
        bound = np.zeros(1)
        for row in bounds:
            bound = np.add.outer(bound, row).ravel()
        bound /= devices

        def judged(numbers: npt.NDArray[np.int64]) -> tuple[Choices, float]:
            choices: Choices = np.stack(np.unravel_index(numbers, (options,) * devices), axis=1)
            rewards = problem.rewards(choices)
            return choices[rewards.argmax()], float(rewards.max())

        likely = np.argpartition(-bound, min(_LIKELY, len(bound)) - 1)[:_LIKELY]
        best, best_reward = judged(likely[bound[likely] > -np.inf])
        hopeful = np.flatnonzero(bound > best_reward)  # few: to sort them all would take most of the time
        order = hopeful[np.argsort(-bound[hopeful], kind="stable")]
        for start in range(0, len(order), _AT_ONCE):
            batch = order[start : start + _AT_ONCE]
            batch = batch[bound[batch] > best_reward]
            if not len(batch):
                break
            choice, reward = judged(batch)
            if reward > best_reward:
                best, best_reward = choice, reward
        return best
