"""What an actor is taught: its own decision, bettered device by device on the model while it learns.

Learning from a few candidates alone, an actor long keeps to what it happened to do first. So while learning, and only
then, every switch of one device is judged, as long as one gains anything, and what comes of it is remembered. This is a
choice of this project, the same for all learners.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from testbed.offloading.learner import Decided, Judge
from testbed.offloading.problem import Floats
from testbed.offloading.switching import gaining, switched, together

ROUNDS = 20
TRIED = 1024
"""Switches judged a round: of more, every second, third, ... in turn."""

_JOINED = 16


class Thorough:
    """Search to where no switch of one device gains anything (`Search`).

    It begins with the best of: the most probable option of every device; one option for all, whichever it is. A round
    tries every other option of each device alone, then the best of these of the first one, two, ... devices together,
    in the order of falling gain, and keeps the best. There are at most 20 rounds.
    """

    state: list[int] = []  # nothing is carried on; Search has it so  # noqa: RUF012

    def best(self, probabilities: Floats, allowed: npt.NDArray[np.bool_], judge: Judge) -> Decided:
        """The decision; the actor's own is that of the most probable options."""
        own = np.where(allowed, probabilities, -1.0).argmax(axis=1)
        alike = np.where(allowed.T, np.arange(allowed.shape[1])[:, None], own)
        starts = np.vstack([own, alike])
        rewards = judge(starts)
        found = int(rewards.argmax())
        choice, reward, judged = self._bettered(starts[found], float(rewards[found]), allowed, judge)
        return Decided(choice, reward, float(rewards[0]), len(starts) + judged)

    def _bettered(
        self, choice: npt.NDArray[np.int64], reward: float, allowed: npt.NDArray[np.bool_], judge: Judge
    ) -> tuple[npt.NDArray[np.int64], float, int]:
        devices, options = np.nonzero(allowed)
        parts = -(-len(devices) // TRIED)
        judged = vain = 0
        for turn in range(ROUNDS):
            tried = np.arange(turn % parts, len(devices), parts)
            tried = tried[options[tried] != choice[devices[tried]]]
            gains = judge(switched(choice, devices[tried], options[tried])) - reward if len(tried) else np.zeros(0)
            judged += len(tried)
            gained = tried[gaining(gains, devices[tried], _JOINED)]
            vain = 0 if len(gained) else vain + 1
            if vain == parts:
                break
            if len(gained):
                joined = together(choice, devices[gained], options[gained])
                rewards = judge(joined)
                judged += len(joined)
                choice, reward = joined[rewards.argmax()], float(rewards.max())
        return choice, reward, judged
