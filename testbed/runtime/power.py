"""When a node is switched off and on: each process knows its nodes' events beforehand, and keeps the time itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from testbed.documents.resolved import StartEvent, StopEvent
from testbed.runtime.alarm import Alarm

PowerEvent = StopEvent | StartEvent


async def follow(
    alarm: Alarm,
    start_s: float,
    events: Sequence[PowerEvent],
    stop: Callable[[], Awaitable[None]],
    start: Callable[[], Awaitable[None]],
) -> None:
    """Stop and start one node at its events' instants, counted from `start_s` (monotonic clock)."""
    for event in events:
        await alarm.until(start_s + event.at_s)
        await (stop() if isinstance(event, StopEvent) else start())
