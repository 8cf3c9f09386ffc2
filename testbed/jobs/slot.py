"""Slots: what became of each, and by what jobs were decided."""

from __future__ import annotations

from enum import StrEnum

import msgspec

ON_TIME_MS = 5.0
"""A slot's decision is on time until so long after the slot's beginning: jobs that arrive before wait for it."""
LAST_FOR = 5
"""For so many slots without a decision a device goes on with the last."""


class DecidedBy(StrEnum):
    """What decided a job in a run that is decided by slots."""

    SLOT = "slot"  # the decision of the slot in which it arrived
    LAST = "last"  # that of an earlier slot, as there was none
    GREEDY = "greedy"  # there was none for long: greedy, on the device


def decided_by(decided: int | None, slot: int) -> DecidedBy:
    """What decides the jobs of a slot, where the last slot that was decided (None: none yet) is not after it."""
    if decided is None or slot - decided > LAST_FOR:
        return DecidedBy.GREEDY
    return DecidedBy.SLOT if decided == slot else DecidedBy.LAST


class SlotRow(msgspec.Struct, frozen=True):
    """One slot's decision: the columns of `slots.parquet`. A slot without a row was not decided at all."""

    slot: int
    begins_s: float  # from the run's start
    observe_ms: float  # what it took to look at the network
    decide_ms: float  # what the policy took
    late_ms: float | None  # from the slot's beginning until it was published: negative if ahead; None: it was not
    error: str | None  # why it was not
