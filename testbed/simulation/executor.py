"""The one executor of a node: work waits its turn, first come first served, and the backlog can be told."""

from __future__ import annotations

from collections.abc import Generator

import simpy


class Executor:
    """Serves one piece of work at a time."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env, self._turn = env, simpy.Resource(env, capacity=1)
        self._waiting_s = 0.0
        self._free_s = 0.0

    @property
    def backlog_s(self) -> float:
        """Seconds of work held now, as expected."""
        return max(0.0, self._free_s - self._env.now) + self._waiting_s

    def hold(self, expected_s: float, really_s: float) -> Generator[simpy.Event, object, float]:
        """Wait for a turn and hold the executor as long as it really takes; returns when the turn began."""
        self._waiting_s += expected_s
        with self._turn.request() as turn:
            try:
                yield turn
            finally:
                self._waiting_s -= expected_s
            began_s = self._env.now
            self._free_s = began_s + expected_s
            try:
                yield self._env.timeout(really_s)
            finally:
                self._free_s = 0.0
        return began_s
