"""The policies that are shipped, where devices compute for longer than jobs are apart, and edges answer sooner."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from testbed.aecnn.checkpoint import checkpoint_path, profile_path
from testbed.documents.loading import load_topology, load_workload
from testbed.documents.resolve import resolve
from testbed.documents.resolved import PolicySpec
from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.jobs.profile import Profile
from testbed.simulation.pace import Sized
from testbed.simulation.run import Simulation
from testbed.workload.arrivals import draw_jobs

ROOT = Path(__file__).parents[2]
LATE_MORE = 0.02
"""Of the jobs, as many more than greedy's may be late, which sees each as it comes."""


def on_time(rows: list[LedgerRow]) -> float:
    """The share of jobs."""
    return Counter(row.outcome for row in rows)[Outcome.ON_TIME] / len(rows)


def test_who_decides_a_slot_ahead_is_in_time_as_often_as_who_decides_each_job() -> None:
    topology = resolve(load_topology(ROOT / "topologies" / "two_edges.yaml"))
    workload = load_workload(ROOT / "workloads" / "slots.yaml", topology)
    profile = msgspec.json.decode(profile_path(checkpoint_path("default")).read_bytes(), type=Profile)
    jobs = draw_jobs(workload, list(topology.devices), 1, seed=1)
    found = {}
    for policy in ("local", "greedy", "grl", "droo"):
        simulation = Simulation(
            topology,
            (),
            PolicySpec(policy),
            seed=1,
            estimate_error=0.0,
            slot_s=workload.offloading.slot_s,
            deadline_s=workload.deadlines_s[0],
            jobs=jobs,
            drain_s=workload.duration_s + 1.0,
            chained_s=None,
            profile=profile,
            labels={0: 0},
            photographs={(0, row.option): Sized(round(row.payload_mean), 0) for row in profile.rows},
        )
        for _ in simulation.play(10.0):
            pass
        found[policy] = on_time(simulation.take_rows())
    assert found["local"] < 0.94  # as much is late that waits behind another
    assert min(found["grl"], found["droo"]) > max(0.96, found["greedy"] - LATE_MORE), found
