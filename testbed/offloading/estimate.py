"""Imperfect knowledge: what a policy sees of bandwidths and backlogs, perturbed.

Each value is multiplied by a factor of its own, exp(e z - e^2 / 2) with z standard normal: lognormal, of mean 1 and
relative standard deviation near e, so that an estimate stays positive and is right on average. (The papers perturb the
complex channel gain, h^ = sqrt(1 - e^2) h + e n; links are given as bandwidths here, and have no phase.) The draws are
a function of the seed, the job id and the edge's name alone; of the seed, the slot and the edge's name where slots are
decided, when an edge's backlog is seen alike for all devices. Delays, losses and FLOP/s are seen as they are set.
"""

from __future__ import annotations

import msgspec
import numpy as np

from testbed.jobs.observation import EdgeView, Observation, PathView
from testbed.offloading.slots import SlotObservation


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


def perturbed_slot(observation: SlotObservation, estimate_error: float, seed: int) -> SlotObservation:
    """The observation of a slot with every bandwidth and backlog multiplied by lognormal factors."""
    slot = round(observation.now_s / observation.slot_s)
    names = sorted(observation.devices)
    edges = sorted({edge for view in observation.devices.values() for edge in view.edges})
    own = dict(zip(names, _drawn((*b"slot", slot), len(names), estimate_error, seed), strict=True))
    backlog, ways = {}, {}
    for edge in edges:
        backlog[edge], *factors = _drawn((*b"slot", slot, *edge.encode()), 1 + 2 * len(names), estimate_error, seed)
        ways[edge] = dict(zip(names, zip(factors[::2], factors[1::2], strict=True), strict=True))
    return msgspec.structs.replace(
        observation,
        devices={
            name: msgspec.structs.replace(
                device,
                backlog_s=device.backlog_s * own[name],
                edges={
                    edge: _perturbed_edge(view, *ways[edge][name], backlog[edge]) for edge, view in device.edges.items()
                },
            )
            for name, device in observation.devices.items()
        },
    )


def _factors(observation: Observation, edge: str, count: int, e: float, seed: int) -> list[float]:
    return _drawn((*b"estimate", observation.job.job_id, *edge.encode()), count, e, seed)


def _drawn(key: tuple[int, ...], count: int, e: float, seed: int) -> list[float]:
    draw = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    return [float(factor) for factor in np.exp(e * draw.standard_normal(count) - e * e / 2)]


def _perturbed_edge(view: EdgeView, up: float, down: float, backlog: float) -> EdgeView:
    return msgspec.structs.replace(
        view, up=_scaled(view.up, up), down=_scaled(view.down, down), backlog_s=view.backlog_s * backlog
    )


def _scaled(path: PathView, factor: float) -> PathView:
    return msgspec.structs.replace(path, bandwidth_bps=path.bandwidth_bps * factor)
