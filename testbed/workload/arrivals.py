"""Arrivals: every job of a run, drawn before the run starts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from testbed.documents.arrivals import Burst, Periodic, Poisson, Server, SingleStream, Slotted, Trace
from testbed.documents.layout import matching
from testbed.documents.workload import Workload
from testbed.jobs.job import Job
from testbed.workload.classes import Classes

Draw = np.random.Generator


def draw_jobs(workload: Workload, devices: Sequence[str], n_images: int, seed: int) -> tuple[Job, ...]:
    """The jobs of a run in the order of their arrival, numbered from 0 in that order.

    Each device's arrivals, over [0, duration), are the process's. Each device goes through all `n_images` photographs
    in an order of its own before it sees one again. A device's arrivals, classes and images are a function of the seed
    and its name: adding a device changes only the job ids of the others, and another rate only the arrivals.

    Of `single_stream` nobody knows the arrivals before the run: all are at 0, in their order.

    Raises:
        ValueError: no image, or a device twice.
    """
    if n_images < 1:
        raise ValueError("there are no images")
    if len(set(devices)) != len(devices):
        raise ValueError("a device is named twice")
    classes = Classes(workload)
    drawn = []
    for device in sorted(devices):
        times, images, kinds = (
            np.random.default_rng(each)
            for each in np.random.SeedSequence(seed, spawn_key=tuple(device.encode())).spawn(3)
        )
        arrivals_s = itertools.takewhile(lambda t_s: t_s < workload.duration_s, _arrivals_s(workload, device, times))
        drawn += [
            (arrival_s, device, image, kind)
            for arrival_s, image, kind in zip(arrivals_s, _images(n_images, images), classes.drawn(kinds), strict=False)
        ]
    drawn.sort(key=lambda one: one[:2])  # which keeps the order of a device's jobs that arrive together
    return tuple(
        Job(job_id, device, image, arrival_s, kind.deadline_s, kind.name)
        for job_id, (arrival_s, device, image, kind) in enumerate(drawn)
    )


def _arrivals_s(workload: Workload, device: str, draw: Draw) -> Iterator[float]:
    """When a device's jobs arrive, in order, and on beyond the run's end."""
    match workload.arrivals:
        case Poisson(rate_per_s=rate) | Server(rate_per_s=rate):
            return _poisson_s(rate, draw)
        case Periodic(rate_per_s=rate):
            return _periodic_s(rate, draw)
        case Burst(rate_per_s=rate, size=size):
            return (burst_s for burst_s in _poisson_s(rate / size, draw) for _ in range(size))
        case Slotted(rate_per_s=rate):
            return _slotted_s(rate, workload.offloading.slot_s, draw)
        case Trace(times=times):
            found = [instants for pattern, instants in (times or {}).items() if matching(pattern, [device])]
            return iter(sorted(itertools.chain(*found)))
        case SingleStream(jobs=jobs):
            return itertools.repeat(0.0, jobs)


def _poisson_s(rate_per_s: float, draw: Draw) -> Iterator[float]:
    arrival_s = 0.0
    while True:
        arrival_s += float(draw.exponential(1 / rate_per_s))
        yield arrival_s


def _periodic_s(rate_per_s: float, draw: Draw) -> Iterator[float]:
    arrival_s = float(draw.uniform(0, 1 / rate_per_s))
    while True:
        yield arrival_s
        arrival_s += 1 / rate_per_s


def _slotted_s(rate_per_s: float, slot_s: float, draw: Draw) -> Iterator[float]:
    for slot in itertools.count():
        if draw.random() < rate_per_s * slot_s:
            yield slot * slot_s


def _images(n_images: int, draw: Draw) -> Iterator[int]:
    while True:
        yield from (int(image) for image in draw.permutation(n_images))
