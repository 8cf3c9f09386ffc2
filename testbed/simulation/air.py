"""What the links of an access point to its devices share: a total rate, in turn by bytes."""

from __future__ import annotations

from collections import deque

import simpy

from testbed.simulation.line import Line, Passage

_QUANTUM = 1500


class Air:
    """Serves the lines that have packets waiting by deficit round-robin (Shreedhar and Varghese, 1995)."""

    def __init__(self, env: simpy.Environment, bandwidth_bps: float) -> None:
        self._env, self._bps = env, bandwidth_bps
        self._turns: deque[Line] = deque()  # the first is being served

    def enter(self, line: Line, passage: Passage) -> None:
        """A packet has been served by its own line, and waits for its turn."""
        line.waiting.append(passage)
        if len(line.waiting) > 1:
            return
        line.credit = _QUANTUM
        self._turns.append(line)
        if len(self._turns) == 1:
            self._serve()

    def _serve(self) -> None:
        line = self._turns[0]
        while line.credit < line.waiting[0].packet.size:
            line.credit += _QUANTUM
            self._turns.rotate(-1)
            line = self._turns[0]
        size = line.waiting[0].packet.size
        line.credit -= size
        simpy.Timeout(self._env, 8 * size / self._bps).callbacks.append(self._served)

    def _served(self, event: simpy.Event) -> None:
        line = self._turns[0]
        line.depart(line.waiting.popleft())
        if not line.waiting:
            self._turns.popleft()
        if self._turns:
            self._serve()
