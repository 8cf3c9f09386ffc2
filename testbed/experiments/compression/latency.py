"""Which ratio under which latency limit: when a profile's options are complete, and the best of those in time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from testbed.jobs.decision import Kind, Option
from testbed.jobs.job import Job
from testbed.jobs.observation import EdgeView, Observation, PathView
from testbed.jobs.profile import Profile, ProfileRow
from testbed.offloading.prediction import predict_s, reachable

DEVICE_FLOPS_PER_S = 5e9
EDGE_FLOPS_PER_S = 200e9
DELAY_S = 0.005
BANDWIDTHS_BPS = tuple(float(bandwidth) for bandwidth in np.geomspace(0.1e6, 10e6, 81))
LIMITS_S = tuple(float(limit) for limit in np.geomspace(0.02, 0.5, 81))
TABLE_BANDWIDTHS_BPS = (0.1e6, 0.15e6, 0.25e6, 0.5e6, 1e6, 2.5e6, 10e6)
TABLE_LIMITS_S = (0.05, 0.08, 0.1, 0.12, 0.13, 0.15, 0.5)


def without_rivals(profile: Profile) -> Profile:
    """The profile with AECNN's splits alone beside what needs no split."""
    rows = tuple(row for row in profile.rows if row.option.kind is not Kind.SPLIT or row.option.encoding == "aecnn")
    return msgspec.structs.replace(profile, rows=rows)


def completion_s(profile: Profile, bandwidth_bps: float) -> dict[Option, float]:
    """Seconds until a lone job is complete, for each option: an idle device and edge, a link without loss."""
    path = PathView(bandwidth_bps, DELAY_S, 0.0)
    observation = Observation(
        job=Job(job_id=0, device="device", image=0, arrival_s=0.0, deadline_s=1.0),
        now_s=0.0,
        backlog_s=0.0,
        flops_per_s=DEVICE_FLOPS_PER_S,
        edges={"edge": EdgeView(path, path, 0.0, EDGE_FLOPS_PER_S)},
        profile=profile,
    )
    return {
        decision.option: predict_s(observation, decision.option, decision.edge) for decision in reachable(observation)
    }


def best_within(profile: Profile, bandwidth_bps: float, limits_s: Sequence[float]) -> list[ProfileRow | None]:
    """For each limit the most accurate option complete within it, of equal ones the soonest; None if there is none."""
    times = completion_s(profile, bandwidth_bps)

    def best(limit_s: float) -> ProfileRow | None:
        in_time = [row for row in profile.rows if times[row.option] <= limit_s]
        return max(in_time, key=lambda row: (row.accuracy, -times[row.option]), default=None)

    return [best(limit_s) for limit_s in limits_s]
