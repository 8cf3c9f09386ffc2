"""Doing something at an instant of simulated time."""

from __future__ import annotations

from collections.abc import Callable

import simpy


def after(env: simpy.Environment, seconds: float, do: Callable[[], object]) -> simpy.Event:
    """Calls `do` in so many seconds; the event as which it will happen."""
    event = simpy.Timeout(env, seconds if seconds > 0 else 0.0)

    def happen(_: simpy.Event) -> None:
        do()

    event.callbacks.append(happen)
    return event
