"""Arrivals: every job of a run, drawn before the run starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from testbed.jobs.job import Job

Process = Literal["poisson", "periodic"]


def draw_jobs(
    devices: Sequence[str],
    process: Process,
    rate_per_s: float,
    duration_s: float,
    deadline_s: float,
    n_images: int,
    seed: int,
) -> tuple[Job, ...]:
    """The jobs of a run in the order of their arrival, numbered from 0 in that order.

    Each device issues `rate_per_s` jobs a second on average over [0, duration_s): `poisson` with exponential gaps,
    `periodic` with equal gaps from a phase drawn within the first. Each device goes through all `n_images` photographs
    in an order of its own before it sees one again. A device's arrivals and images are a function of the seed and its
    name: adding a device changes only the job ids of the others.

    Raises:
        ValueError: an unknown process, a rate, duration or number of images that is not positive, or a device twice.
    """
    if process not in get_args(Process):
        raise ValueError(f"process: '{process}' is not one of {', '.join(get_args(Process))}")
    if not (rate_per_s > 0 and duration_s > 0 and n_images > 0):
        raise ValueError(f"rate {rate_per_s}, duration {duration_s} and images {n_images} must all be positive")
    if len(set(devices)) != len(devices):
        raise ValueError("a device is named twice")
    drawn = []
    for device in devices:
        times, images = np.random.SeedSequence(seed, spawn_key=tuple(device.encode())).spawn(2)
        arrivals = _arrivals_s(process, rate_per_s, duration_s, np.random.default_rng(times))
        drawn += [
            (arrival_s, device, image)
            for arrival_s, image in zip(arrivals, _images(n_images, np.random.default_rng(images)), strict=False)
        ]
    return tuple(
        Job(job_id=job_id, device=device, image=image, arrival_s=arrival_s, deadline_s=deadline_s)
        for job_id, (arrival_s, device, image) in enumerate(sorted(drawn))
    )


def _arrivals_s(process: Process, rate_per_s: float, duration_s: float, draw: np.random.Generator) -> Iterator[float]:
    gap_s = 1 / rate_per_s
    arrival_s = float(draw.exponential(gap_s) if process == "poisson" else draw.uniform(0, gap_s))
    while arrival_s < duration_s:
        yield arrival_s
        arrival_s += float(draw.exponential(gap_s)) if process == "poisson" else gap_s


def _images(n_images: int, draw: np.random.Generator) -> Iterator[int]:
    while True:
        yield from (int(image) for image in draw.permutation(n_images))
