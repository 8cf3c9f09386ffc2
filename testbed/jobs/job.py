"""A job: one inference request of one device."""

from __future__ import annotations

import msgspec


class Job(msgspec.Struct, frozen=True):
    """One inference request, drawn before the run starts.

    `arrival_s` is the intended instant, in seconds from the run's start; `image` indexes the run's photographs;
    `deadline_s` is the time from arrival to answer that this very job has, by its class if it is of any.
    """

    job_id: int
    device: str
    image: int
    arrival_s: float
    deadline_s: float
    job_class: str | None = None
