"""Arrivals: rates, phases, replay, classes, and images that come round before they repeat."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.documents.workload import Workload
from testbed.workload.arrivals import draw_jobs

DEVICES = [f"dev{i}" for i in range(1, 9)]
PROCESSES = {
    "poisson": {"rate": "2 /s"},
    "periodic": {"rate": "2 /s"},
    "burst": {"rate": "2 /s", "size": 3},
    "slotted": {"rate": "2 /s"},
    "trace": {"times": {"*": ["0.5 s", "2 s", "2 s"], "dev1": ["1 s"]}},
    "single_stream": {"jobs": 7},
    "server": {"rate": "2 /s"},
}


def workload(process="poisson", duration="30 s", **fields):
    arrivals = {"process": process, **PROCESSES[process]}
    arrivals |= {name: fields.pop(name) for name in ("rate", "size", "times") if name in fields}
    document = {"name": "w", "duration": duration, "deadline": "200 ms", "offloading": {"policy": "greedy"}}
    return Workload.model_validate({**document, "arrivals": arrivals, **fields})


def draw(devices=DEVICES, n_images=404, seed=1, **fields):
    return draw_jobs(workload(**fields), devices, n_images, seed)


def of_device(jobs, device):
    return [(job.arrival_s, job.image, job.job_class) for job in jobs if job.device == device]


def times(jobs, device):
    return [arrival_s for arrival_s, _, _ in of_device(jobs, device)]


@given(
    process=st.sampled_from(sorted(PROCESSES)),
    duration_ms=st.integers(100, 20_000),
    n_images=st.integers(1, 50),
    seed=st.integers(0, 2**40),
    count=st.integers(0, 5),
)
@settings(deadline=None, max_examples=50)
def test_jobs_are_sorted_numbered_and_within_the_run(process, duration_ms, n_images, seed, count):
    drawn = {"process": process, "duration": f"{duration_ms} ms", "n_images": n_images, "seed": seed}
    jobs = draw(DEVICES[:count], **drawn)
    assert [job.job_id for job in jobs] == list(range(len(jobs)))
    assert [job.arrival_s for job in jobs] == sorted(job.arrival_s for job in jobs)
    assert all(0 <= job.arrival_s < duration_ms / 1e3 and 0 <= job.image < n_images for job in jobs)
    assert jobs == draw(DEVICES[:count], **drawn)


def test_another_seed_gives_other_jobs():
    assert draw(seed=1) != draw(seed=2)


@pytest.mark.parametrize("process", ["poisson", "server"])
def test_poisson_counts_have_the_rate_and_its_variance(process):
    jobs = draw([f"d{i}" for i in range(400)], process=process, seed=11)
    counts = np.bincount([int(job.device[1:]) for job in jobs], minlength=400)
    assert abs(counts.mean() - 60) < 5 * math.sqrt(60 / 400)
    assert abs(counts.var() / 60 - 1) < 5 * math.sqrt(2 / 400)


def test_poisson_gaps_are_exponential():
    gaps = np.diff([job.arrival_s for job in draw(["dev1"], rate="100 /s", duration="100 s", seed=3)])
    assert abs((gaps > 0.01).mean() - math.exp(-1)) < 5 * math.sqrt(0.37 * 0.63 / len(gaps))


def test_periodic_devices_keep_their_gap_and_start_apart():
    jobs = draw(process="periodic")
    phases = set()
    for device in DEVICES:
        arrivals_s = times(jobs, device)
        assert len(arrivals_s) == 60
        assert np.allclose(np.diff(arrivals_s), 0.5)
        phases.add(arrivals_s[0])
    assert len(phases) == 8 and all(0 <= phase < 0.5 for phase in phases)


def test_bursts_come_whole_at_the_rate_of_their_jobs():
    jobs = draw([f"d{i}" for i in range(100)], process="burst", rate="10 /s", size=5, duration="20 s")
    bursts = Counter((job.device, job.arrival_s) for job in jobs)
    assert set(bursts.values()) == {5}
    assert abs(len(bursts) - 100 * 20 * 2) < 5 * math.sqrt(100 * 20 * 2)


def test_slotted_jobs_arrive_at_beginnings_one_a_slot():
    jobs = draw(process="slotted", rate="3 /s", offloading={"policy": "greedy", "slot": "100 ms"}, duration="100 s")
    for device in DEVICES:
        slots = np.array(times(jobs, device)) / 0.1
        assert np.allclose(slots, slots.round()) and len(set(slots.round())) == len(slots)
        assert abs(len(slots) - 300) < 5 * math.sqrt(300 * 0.7)


def test_a_trace_is_replayed_and_cut_at_the_end():
    jobs = draw(process="trace", duration="2 s")
    assert times(jobs, "dev1") == [0.5, 1.0] and times(jobs, "dev2") == [0.5]
    assert times(draw(process="trace"), "dev2") == [0.5, 2.0, 2.0]


def test_a_single_stream_has_its_jobs_in_their_order():
    jobs = draw(["dev1", "dev2"], process="single_stream")
    assert [(job.device, job.arrival_s) for job in jobs] == [("dev1", 0.0)] * 7 + [("dev2", 0.0)] * 7
    poisson = [image for _, image, _ in of_device(draw(), "dev1")]
    assert [job.image for job in jobs[:7]] == poisson[:7]


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_adding_a_device_leaves_the_others_as_they_were(process):
    few = draw(DEVICES[:3], process=process)
    many = draw([*DEVICES, "phone"], process=process)
    for device in DEVICES[:3]:
        assert of_device(few, device) == of_device(many, device) != []


def test_a_device_sees_every_image_once_before_any_twice():
    images = [image for _, image, _ in of_device(draw(n_images=100, rate="10 /s"), "dev1")]
    assert len(images) > 200
    assert sorted(images[:100]) == sorted(images[100:200]) == list(range(100))
    assert images[:100] != images[100:200]


URGENT = {"urgent": {"share": "30 %", "deadline": "100 ms"}, "patient": {"share": "20 %", "deadline": "1 s"}}


def test_the_rate_changes_neither_images_nor_classes():
    slow = [job[1:] for job in of_device(draw(rate="1 /s", classes=URGENT), "dev1")]
    fast = [job[1:] for job in of_device(draw(rate="5 /s", classes=URGENT), "dev1")]
    assert fast[: len(slow)] == slow


def test_classes_have_their_shares_and_deadlines_and_leave_the_arrivals_alone():
    jobs = draw([f"d{i}" for i in range(100)], classes=URGENT)
    deadlines = {(job.job_class, job.deadline_s) for job in jobs}
    assert deadlines == {("urgent", 0.1), ("patient", 1.0), (None, 0.2)}
    counts = Counter(job.job_class for job in jobs)
    for name, share in (("urgent", 0.3), ("patient", 0.2), (None, 0.5)):
        assert abs(counts[name] - share * len(jobs)) < 5 * math.sqrt(share * (1 - share) * len(jobs))
    plain = draw([f"d{i}" for i in range(100)])
    assert [(job.arrival_s, job.image) for job in jobs] == [(job.arrival_s, job.image) for job in plain]


def test_classes_that_are_everything_leave_nothing():
    halves = {name: {"share": "50 %", "deadline": deadline} for name, deadline in (("a", "1 s"), ("b", "2 s"))}
    assert {job.job_class for job in draw(classes=halves)} == {"a", "b"}
    assert workload(classes=halves).deadlines_s == (1.0, 2.0)
    assert workload(classes=URGENT).deadlines_s == (0.1, 0.2, 1.0)


def test_another_rate_is_the_same_workload_but_for_that():
    other = workload(rate="2 /s").at_rate(5.5)
    assert other == workload(rate="5.5 /s")
    with pytest.raises(ValueError, match=r"out of range, from 0\.001 to 10 /s"):
        workload("slotted").at_rate(11)
    with pytest.raises(ValueError, match="have no rate"):
        workload("trace").at_rate(2)


@pytest.mark.parametrize(("arguments", "says"), [((["a"], 0), "no images"), ((["a", "a"], 1), "named twice")])
def test_what_cannot_be_drawn_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        draw(*arguments)
