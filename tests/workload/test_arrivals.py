"""Arrivals: rates, phases, replay, and images that come round before they repeat."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.workload.arrivals import draw_jobs

DEVICES = [f"dev{i}" for i in range(1, 9)]


def of_device(jobs, device):
    return [(job.arrival_s, job.image) for job in jobs if job.device == device]


@given(
    process=st.sampled_from(["poisson", "periodic"]),
    rate_per_s=st.floats(0.1, 50),
    duration_s=st.floats(0.1, 20),
    n_images=st.integers(1, 50),
    seed=st.integers(0, 2**40),
    count=st.integers(0, 5),
)
@settings(deadline=None, max_examples=50)
def test_jobs_are_sorted_numbered_and_within_the_run(process, rate_per_s, duration_s, n_images, seed, count):
    arguments = (DEVICES[:count], process, rate_per_s, duration_s, 0.2, n_images, seed)
    jobs = draw_jobs(*arguments)
    assert [job.job_id for job in jobs] == list(range(len(jobs)))
    assert [job.arrival_s for job in jobs] == sorted(job.arrival_s for job in jobs)
    assert all(0 <= job.arrival_s < duration_s and 0 <= job.image < n_images for job in jobs)
    assert jobs == draw_jobs(*arguments)


def test_another_seed_gives_other_jobs():
    assert draw_jobs(DEVICES, "poisson", 2, 30, 0.2, 404, 1) != draw_jobs(DEVICES, "poisson", 2, 30, 0.2, 404, 2)


def test_poisson_counts_have_the_rate_and_its_variance():
    devices = [f"d{i}" for i in range(400)]
    jobs = draw_jobs(devices, "poisson", 2.0, 30.0, 0.2, 404, 11)
    counts = np.bincount([int(job.device[1:]) for job in jobs], minlength=400)
    assert abs(counts.mean() - 60) < 5 * math.sqrt(60 / 400)
    assert abs(counts.var() / 60 - 1) < 5 * math.sqrt(2 / 400)


def test_poisson_gaps_are_exponential():
    jobs = draw_jobs(["dev1"], "poisson", 100.0, 100.0, 0.2, 404, 3)
    gaps = np.diff([job.arrival_s for job in jobs])
    assert abs((gaps > 0.01).mean() - math.exp(-1)) < 5 * math.sqrt(0.37 * 0.63 / len(gaps))


def test_periodic_devices_keep_their_gap_and_start_apart():
    jobs = draw_jobs(DEVICES, "periodic", 2.0, 30.0, 0.2, 404, 1)
    phases = set()
    for device in DEVICES:
        times = [arrival_s for arrival_s, _ in of_device(jobs, device)]
        assert len(times) == 60
        assert np.allclose(np.diff(times), 0.5)
        phases.add(times[0])
    assert len(phases) == 8 and all(0 <= phase < 0.5 for phase in phases)


@pytest.mark.parametrize("process", ["poisson", "periodic"])
def test_adding_a_device_leaves_the_others_as_they_were(process):
    few = draw_jobs(DEVICES[:3], process, 2.0, 30.0, 0.2, 404, 1)
    many = draw_jobs([*DEVICES, "phone"], process, 2.0, 30.0, 0.2, 404, 1)
    for device in DEVICES[:3]:
        assert of_device(few, device) == of_device(many, device) != []


def test_a_device_sees_every_image_once_before_any_twice():
    images = [image for _, image in of_device(draw_jobs(DEVICES, "poisson", 10, 30, 0.2, 100, 1), "dev1")]
    assert len(images) > 200
    assert sorted(images[:100]) == sorted(images[100:200]) == list(range(100))
    assert images[:100] != images[100:200]


def test_the_rate_does_not_change_the_images():
    slow = [image for _, image in of_device(draw_jobs(DEVICES, "poisson", 1, 30, 0.2, 404, 1), "dev1")]
    fast = [image for _, image in of_device(draw_jobs(DEVICES, "poisson", 5, 30, 0.2, 404, 1), "dev1")]
    assert fast[: len(slow)] == slow


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((["a"], "uniform", 1, 1, 1, 1, 1), "'uniform' is not one of poisson, periodic"),
        ((["a"], "poisson", 0, 1, 1, 1, 1), "must all be positive"),
        ((["a", "a"], "poisson", 1, 1, 1, 1, 1), "named twice"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        draw_jobs(*arguments)
