"""The one executor of a node: work waits its turn, first come first served, and the backlog can be told."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator

import simpy


class Executor:
    """Serves one piece of work at a time."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._held = False
        self._turns: deque[simpy.Event] = deque()  # of those who wait
        self._waiting_s = 0.0
        self._free_s = 0.0

    @property
    def backlog_s(self) -> float:
        """Seconds of work held now, as expected."""
        return max(0.0, self._free_s - self._env.now) + self._waiting_s

    def hold(self, expected_s: float, really_s: float) -> Generator[simpy.Event, object, float]:
        """Wait for a turn and hold the executor as long as it really takes; returns when the turn began."""
        if self._held:
            yield from self._wait(expected_s)
        self._held = True
        began_s = self._env.now
        self._free_s = began_s + expected_s
        try:
            yield self._env.timeout(really_s)
        finally:
            self._free_s = 0.0
            self._pass_on()
        return float(began_s)

    def _wait(self, expected_s: float) -> Generator[simpy.Event, object, None]:
        turn = self._env.event()
        self._turns.append(turn)
        self._waiting_s += expected_s
        try:
            yield turn
        except simpy.Interrupt:
            if turn.triggered:
                self._pass_on()
            else:
                self._turns.remove(turn)
            raise
        finally:
            self._waiting_s = self._waiting_s - expected_s if self._turns else 0.0

    def _pass_on(self) -> None:
        self._held = bool(self._turns)
        if self._turns:
            self._turns.popleft().succeed()
