"""Asking actors again and again, without waiting for those that do not answer now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Polls:
    """One question to several actors, asked of each anew when its last answer has come."""

    def __init__(self, ray: Any, method: str) -> None:
        self._ray, self._method = ray, method
        self._asked: dict[str, Any] = {}

    def answers(self, actors: Mapping[str, Any], within_s: float) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Who has answered, or has died, within so many seconds, and what gives the answer, or raises Ray's error.

        An actor that does not answer, as that of a machine that cannot be reached for a while, is passed over until its
        answer comes: no answer is lost.
        """
        for who, actor in actors.items():
            if who not in self._asked:
                self._asked[who] = getattr(actor, self._method).remote()
        waiting = [self._asked[who] for who in actors]
        ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=within_s) if waiting else ([], [])
        for who in actors:
            if self._asked[who] in ready:
                answer = self._asked.pop(who)
                yield who, lambda answer=answer: self._ray.get(answer)  # type: ignore[misc]
