"""Imperfect knowledge: what a policy sees of bandwidths and backlogs, perturbed.

Each value is multiplied by a factor of its own, exp(e z - e^2 / 2) with z standard normal: lognormal, of mean 1 and
relative standard deviation near e, so that an estimate stays positive and is right on average. (The papers perturb the
complex channel gain, h^ = sqrt(1 - e^2) h + e n; links are given as bandwidths here, and have no phase.) The draws are
a function of the seed, the job id and the edge's name alone. Delays, losses and FLOP/s are seen as they are set.
"""

from __future__ import annotations

import msgspec
import numpy as np

from testbed.jobs.observation import EdgeView, Observation, PathView


def perturbed(observation: Observation, estimate_error: float, seed: int) -> Observation:
    """The observation with both bandwidths and every backlog multiplied by lognormal factors."""
    (own,) = _factors(observation, "", 1, estimate_error, seed)
    return msgspec.structs.replace(
        observation,
        backlog_s=observation.backlog_s * own,
        edges={
            name: _perturbed_edge(view, *_factors(observation, name, 3, estimate_error, seed))
            for name, view in observation.edges.items()
        },
    )


def _factors(observation: Observation, edge: str, count: int, e: float, seed: int) -> list[float]:
    key = (*b"estimate", observation.job.job_id, *edge.encode())
    draw = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    return [float(factor) for factor in np.exp(e * draw.standard_normal(count) - e * e / 2)]


def _perturbed_edge(view: EdgeView, up: float, down: float, backlog: float) -> EdgeView:
    return msgspec.structs.replace(
        view, up=_scaled(view.up, up), down=_scaled(view.down, down), backlog_s=view.backlog_s * backlog
    )


def _scaled(path: PathView, factor: float) -> PathView:
    return msgspec.structs.replace(path, bandwidth_bps=path.bandwidth_bps * factor)
