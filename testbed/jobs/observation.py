"""What a policy sees when it decides."""

from __future__ import annotations

import msgspec

from testbed.jobs.job import Job
from testbed.jobs.profile import Profile


class PathView(msgspec.Struct, frozen=True):
    """One direction of the way between a device and an edge, as its links are set.

    Over several links: the narrowest bandwidth in bits per second, delays added, losses compounded.
    """

    bandwidth_bps: float
    delay_s: float
    loss: float  # 0 to 1


class Air(msgspec.Struct, frozen=True):
    """What a device's link to an access point shares with those of other devices there."""

    access_point: str
    bandwidth_bps: float  # the total, both directions together


class EdgeView(msgspec.Struct, frozen=True):
    """An edge as a device sees it."""

    up: PathView
    down: PathView
    backlog_s: float  # seconds of work queued there
    flops_per_s: float  # its pace; for live compute, the profile's reference
    unsent_bytes: int = 0  # what the device has handed to its socket there and is not acknowledged yet
    air: Air | None = None  # None: the way's first link has its rate to itself


class Observation(msgspec.Struct, frozen=True):
    """All that a policy may use to decide one job. Edges that cannot be reached now are absent."""

    job: Job
    now_s: float  # since the run's start; job.arrival_s or later
    backlog_s: float  # seconds of work queued on the device itself
    flops_per_s: float  # the device's pace
    edges: dict[str, EdgeView]
    profile: Profile
