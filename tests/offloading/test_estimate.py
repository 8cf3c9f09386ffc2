"""Imperfect knowledge: right on average, replayable, and confined to bandwidths and backlogs."""

from __future__ import annotations

import math

import numpy as np

from testbed.jobs.decision import LOCAL
from testbed.offloading.estimate import perturbed
from testbed.offloading.policy import make_policy


def test_factors_have_mean_one_and_the_spread_asked(observed):
    n, e = 4000, 0.2
    factors = np.array(
        [
            perturbed(observed(job_id=job, bandwidth_bps=1.0), e, seed=5).edges["edge1"].up.bandwidth_bps
            for job in range(n)
        ]
    )
    spread = math.sqrt(math.exp(e * e) - 1)
    assert abs(factors.mean() - 1) < 5 * spread / math.sqrt(n)
    assert abs(np.log(factors).std() - e) < 5 * e / math.sqrt(2 * n)


def test_every_bandwidth_and_backlog_has_a_factor_of_its_own(observed):
    seen = perturbed(observed(bandwidth_bps=1.0, backlog_s=1.0, edge_backlog_s=1.0, edges=("edge1", "edge2")), 0.3, 1)
    values = [seen.backlog_s]
    for edge in seen.edges.values():
        values += [edge.up.bandwidth_bps, edge.down.bandwidth_bps, edge.backlog_s]
    assert len(set(values)) == 7
    assert all(edge.up.delay_s == 0.005 and edge.flops_per_s == 2e11 for edge in seen.edges.values())


def test_an_estimate_replays_and_another_edge_does_not_change_it(observed):
    one = perturbed(observed(job_id=4), 0.1, seed=2)
    two = perturbed(observed(job_id=4, edges=("another", "edge1")), 0.1, seed=2)
    assert one.edges["edge1"] == two.edges["edge1"]
    assert one != perturbed(observed(job_id=5), 0.1, seed=2)
    assert one.edges != perturbed(observed(job_id=4), 0.1, seed=3).edges


def test_an_error_in_the_estimate_changes_what_greedy_decides(observed):
    sure, unsure = make_policy("greedy", {}, seed=1), make_policy("greedy", {}, seed=1, estimate_error=0.5)
    close = [observed(job_id=job, backlog_s=0.055, bandwidth_bps=1e6) for job in range(100)]
    assert all(sure.decide(observation).option == LOCAL for observation in close)
    decided = {unsure.decide(observation).option for observation in close}
    assert LOCAL in decided and len(decided) > 1
