"""The one executor of a node: work waits its turn, first come first served, and the backlog can be told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable


class Executor:
    """Serves one piece of work at a time.

    `publish` is told, whenever it changes, the instant (monotonic clock) by which all work held now is expected done.
    """

    def __init__(self, publish: Callable[[float], None] = lambda _: None) -> None:
        self._turn = asyncio.Lock()  # wakes its waiters in the order they came
        self._waiting_s = 0.0
        self._free_at_s = 0.0
        self._publish = publish

    @property
    def backlog_s(self) -> float:
        """Seconds of work held now, as expected."""
        return max(0.0, self._free_at_s - time.monotonic()) + self._waiting_s

    @contextlib.asynccontextmanager
    async def turn(self, expected_s: float) -> AsyncIterator[None]:
        """Hold the executor for the block, which is expected to take so long."""
        self._waiting_s += expected_s
        self._tell()
        try:
            await self._turn.acquire()
        finally:
            self._waiting_s -= expected_s
        self._free_at_s = time.monotonic() + expected_s
        self._tell()
        try:
            yield
        finally:
            self._free_at_s = 0.0
            self._turn.release()
            self._tell()

    def _tell(self) -> None:
        self._publish(time.monotonic() + self.backlog_s)
