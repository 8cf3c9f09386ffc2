"""Channels: what varies one direction of a link in time, drawn from the run's seed. Pure: the emulation and the
simulation play the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from testbed.documents.fading import shannon_bps
from testbed.documents.resolved import Channel, Fading, LinkChange, Schedule

_CHUNK = 256  # gains drawn at once


def draw(channel: Channel, seed: int, sender: str, receiver: str) -> Iterator[tuple[float, LinkChange]]:
    """What a channel changes in the direction from `sender` to `receiver`, each time in full, from which instant on (in
    seconds from the run's start, rising from 0). Drawn as it is asked for, without end where the channel has none.

    It is a function of the channel, the seed and the two names: neither other links nor whether the direction is up or
    down matters.
    """
    if isinstance(channel, Schedule):
        return _scheduled(channel)
    name = f"channel {sender} {receiver}"
    return _fading(channel, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(name.encode()))))


def _scheduled(channel: Schedule) -> Iterator[tuple[float, LinkChange]]:
    for number in itertools.count():
        whole = LinkChange()  # what a change does not name stays as the round has it
        for at_s, change in zip(channel.at_s, channel.changes, strict=True):
            whole = change.over(whole)
            yield number * (channel.period_s or 0.0) + at_s, whole
        if channel.period_s is None:
            return


def _fading(channel: Fading, generator: np.random.Generator) -> Iterator[tuple[float, LinkChange]]:
    """Block fading. The first block is a part of a coherence time, so that links do not change all at once."""
    phase = 1.0 - generator.random()
    instants = itertools.chain([0.0], ((phase + number) * channel.coherence_s for number in itertools.count()))
    for at_s, gain in zip(instants, _gains(channel.rician_k, generator), strict=False):
        yield at_s, LinkChange(bandwidth_bps=shannon_bps(channel, gain))


def _gains(k: float, generator: np.random.Generator) -> Iterator[float]:
    """Independent |h|² of mean 1, h = sqrt(K / (K + 1)) + CN(0, 1 / (K + 1)): Rician, for K = 0 Rayleigh.

    D. Tse, P. Viswanath, Fundamentals of Wireless Communication (2005), section 2.4.2.
    """
    direct, spread = np.sqrt(k / (k + 1)), np.sqrt(0.5 / (k + 1))
    while True:
        real, imaginary = generator.standard_normal((_CHUNK, 2)).T * spread
        yield from ((direct + real) ** 2 + imaginary**2).tolist()
