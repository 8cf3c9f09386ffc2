"""A job: one inference request of one device."""

from __future__ import annotations

import msgspec


class Job(msgspec.Struct, frozen=True):
    """One inference request, drawn before the run starts.

    `arrival_s` is the intended instant, in seconds from the run's start; `image` indexes the run's photographs.
    """

    job_id: int
    device: str
    image: int
    arrival_s: float
    deadline_s: float
