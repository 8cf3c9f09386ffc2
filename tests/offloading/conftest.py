"""A profile of five options and an observation of two edges, with numbers in the range of the shipped checkpoint's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from testbed.jobs.decision import LOCAL, Kind, OperatingPoint, Option
from testbed.jobs.job import Job
from testbed.jobs.observation import EdgeView, Observation, PathView
from testbed.jobs.profile import Profile, ProfileRow

RAW = Option(Kind.FULL, "raw")
JPEG = Option(Kind.FULL, "jpeg")
DEEP = Option(Kind.SPLIT, "aecnn", OperatingPoint("layer3", 16, 4))
SHALLOW = Option(Kind.SPLIT, "aecnn", OperatingPoint("layer2", 32, 4))


def profile_row(
    option: Option, accuracy: float, payload: float, flops: tuple[float, float, float, float]
) -> ProfileRow:
    head, encode, decode, tail = flops
    return ProfileRow(
        option=option,
        nominal_ratio=256.0 if option.point else None,
        accuracy=accuracy,
        mean_class_accuracy=accuracy,
        payload_mean=payload,
        payload_p95=payload * 1.2,
        head_flops=head,
        encode_flops=encode,
        decode_flops=decode,
        tail_flops=tail,
        head_s=head / 1e10,
        encode_s=encode / 1e10,
        decode_s=decode / 1e10,
        tail_s=tail / 1e10,
    )


@pytest.fixture
def profile() -> Profile:
    return Profile(
        checkpoint="0" * 64,
        images="sample",
        n=404,
        input_px=128,
        reference_flops_per_s=1e10,
        rows=(
            profile_row(LOCAL, 0.931, 0, (7e8, 0, 0, 0)),
            profile_row(RAW, 0.931, 49152, (0, 0, 0, 7e8)),
            profile_row(JPEG, 0.925, 5000, (0, 1e7, 1e7, 7e8)),
            profile_row(SHALLOW, 0.90, 800, (3e8, 5e6, 5e7, 4e8)),
            profile_row(DEEP, 0.908, 324, (5e8, 5e6, 5e7, 2e8)),
        ),
    )


Observed = Callable[..., Observation]


@pytest.fixture
def observed(profile: Profile) -> Observed:
    """An observation of a job that just arrived; every figure of its one or two edges can be named."""

    def make(
        *,
        job_id: int = 0,
        deadline_s: float = 0.2,
        elapsed_s: float = 0.0,
        backlog_s: float = 0.0,
        device_flops_per_s: float = 5e9,
        bandwidth_bps: float = 10e6,
        delay_s: float = 0.005,
        loss: float = 0.0,
        edge_backlog_s: float = 0.0,
        unsent_bytes: int = 0,
        edges: tuple[str, ...] = ("edge1",),
        slower: dict[str, float] | None = None,
    ) -> Observation:
        path = PathView(bandwidth_bps, delay_s, loss)
        return Observation(
            job=Job(job_id=job_id, device="dev1", image=0, arrival_s=1.0, deadline_s=deadline_s),
            now_s=1.0 + elapsed_s,
            backlog_s=backlog_s,
            flops_per_s=device_flops_per_s,
            edges={
                name: EdgeView(path, path, edge_backlog_s + (slower or {}).get(name, 0.0), 2e11, unsent_bytes)
                for name in edges
            },
            profile=profile,
        )

    return make
