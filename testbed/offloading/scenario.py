"""The world that policies are trained and judged in: its parameters, and the random process of its slots.

Every quantity that the paper (arXiv 2401.12167) leaves open is a choice of this project, told in docs/offloading.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Range = tuple[float, float]

_LAYOUT, _SLOT = 0, 1  # streams of random numbers of their own


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Devices, each with one job a slot, and edges in reach of all of them. Ranges are of uniform draws.

    Raises:
        ValueError: a quantity is not possible.
    """

    devices: int = 10
    edges: int = 2
    slot_s: float = 0.1
    deadline_s: Range = (0.05, 0.15)  # drawn for every job
    bandwidth_hz: float = 5e6  # of each edge, shared by the devices offloaded there
    power_dbm: float = 23.0  # the most that a device transmits with; see `power_w`
    noise_dbm_per_hz: float = -174.0
    distance_m: Range = (500.0, 1000.0)  # of each device to each edge
    path_loss_exponent: float = 3.76
    reference_loss_db: float = 35.3  # at 1 m; this and the exponent: 3GPP TR 36.814, macro cell, 20 dB of walls
    device_flops_per_s: Range = (5e9, 10e9)
    edge_flops_per_s: float = 100e9
    available_min: float = 0.5  # xi_min: an edge gives a share xi of its FLOP/s, drawn from xi_min to 1 for every slot
    estimate_error: float = 0.1  # eps: of the estimated channel, 0 (known) to 1 (unknown)
    device_backlog_s: float = 0.01  # the longest that a device, and an edge, is busy with earlier work
    edge_backlog_s: float = 0.01
    jobs_per_s: float = 0.0  # 0: one job a device, at the slot's beginning; else at any time, so many at each device
    stay_slots: int = 100  # after so many slots other devices, at other places, take the places of these
    psi: float = 1.0  # the penalty of a job that takes twice its deadline or longer
    kappa: float = 1e-29  # J s² / FLOP³: a device at 5 GFLOP/s takes 1.25 W

    def __post_init__(self) -> None:
        ranges = (self.deadline_s, self.distance_m, self.device_flops_per_s)
        positive = (self.slot_s, self.bandwidth_hz, self.edge_flops_per_s, *(low for low, _ in ranges))
        if self.devices < 1 or self.edges < 1 or self.stay_slots < 1:
            raise ValueError("a scenario needs at least one device, one edge and one slot of stay")
        if min(positive) <= 0 or any(low > high for low, high in ranges):
            raise ValueError(
                "slot, bandwidth, FLOP/s and ranges must be positive, and a range's low end not the higher"
            )
        if not 0 < self.available_min <= 1 or not 0 <= self.estimate_error <= 1:
            raise ValueError("available_min must be above 0 to 1, and estimate_error 0 to 1")
        if min(self.device_backlog_s, self.edge_backlog_s, self.jobs_per_s, self.psi, self.kappa) < 0:
            raise ValueError("backlogs, jobs_per_s, psi and kappa must not be negative")

    @property
    def power_w(self) -> float:
        """P_max. Energy is not in the reward, so that devices transmit with all they may."""
        return float(10 ** (self.power_dbm / 10 - 3))

    @property
    def noise_w_per_hz(self) -> float:
        """N0."""
        return float(10 ** (self.noise_dbm_per_hz / 10 - 3))

    @property
    def expected_flops_per_s(self) -> float:
        """What an edge gives on average, which is all that is known when deciding."""
        return self.edge_flops_per_s * (self.available_min + 1) / 2


class Slot(NamedTuple):
    """The state of one slot. Not known when it is decided: `gains`, `edge_flops_per_s`, `after_s` and `gap_s`."""

    gains: Floats  # [U, E], |h|² with path loss: power received over power sent
    estimated_gains: Floats  # [U, E]
    deadline_s: Floats  # [U]
    device_flops_per_s: Floats  # [U]
    device_backlog_s: Floats  # [U]
    edge_flops_per_s: Floats  # [E], xi times what the edge has
    edge_backlog_s: Floats  # [E]
    after_s: Floats  # [U], from the slot's beginning to the device's job
    gap_s: Floats  # [U], from the device's job before it in the slot; infinite: there was none


class Slots:
    """The slots of a scenario: slot t is a function of (scenario, seed, t) alone, whatever was asked for before.

    Devices keep their distances and FLOP/s for `stay_slots`; all else is drawn anew for every slot. Nothing depends on
    what was decided, so that every policy is judged on the very same slots.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self._stay = -1

    def __iter__(self) -> Iterator[Slot]:
        t = 0
        while True:
            yield self[t]
            t += 1

    def __getitem__(self, t: int) -> Slot:
        """Slot t, from 0.

        Raises:
            IndexError: t is negative.
        """
        if t < 0:
            raise IndexError("slots are numbered from 0")
        scenario, shape = self.scenario, (self.scenario.devices, self.scenario.edges)
        path_gain, speed = self._layout(t // scenario.stay_slots)
        draw = self._generator(_SLOT, t)
        fading = _complex_normal(draw, shape)
        error = scenario.estimate_error
        estimate = np.sqrt(1 - error**2) * fading + error * _complex_normal(draw, shape)
        return Slot(
            gains=path_gain * np.abs(fading) ** 2,
            estimated_gains=path_gain * np.abs(estimate) ** 2,
            deadline_s=draw.uniform(*scenario.deadline_s, scenario.devices),
            device_flops_per_s=speed,
            device_backlog_s=draw.uniform(0, scenario.device_backlog_s, scenario.devices),
            edge_flops_per_s=scenario.edge_flops_per_s * draw.uniform(scenario.available_min, 1, scenario.edges),
            edge_backlog_s=draw.uniform(0, scenario.edge_backlog_s, scenario.edges),
            **self._arrivals(draw),
        )

    def _arrivals(self, draw: np.random.Generator) -> dict[str, Floats]:
        """Looking back from a job in a slot, the one before it is as far as the next one would be (Poisson)."""
        devices, rate = self.scenario.devices, self.scenario.jobs_per_s
        if not rate:
            return {"after_s": np.zeros(devices), "gap_s": np.full(devices, np.inf)}
        after_s, gap_s = draw.uniform(0, self.scenario.slot_s, devices), draw.exponential(1 / rate, devices)
        return {"after_s": after_s, "gap_s": np.where(gap_s < after_s, gap_s, np.inf)}

    def _layout(self, stay: int) -> tuple[Floats, Floats]:
        if stay != self._stay:
            scenario, draw = self.scenario, self._generator(_LAYOUT, stay)
            distance = draw.uniform(*scenario.distance_m, (scenario.devices, scenario.edges))
            loss_db = scenario.reference_loss_db + 10 * scenario.path_loss_exponent * np.log10(distance)
            self._stay = stay
            self._current = 10 ** (-loss_db / 10), draw.uniform(*scenario.device_flops_per_s, scenario.devices)
        return self._current

    def _generator(self, stream: int, number: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(stream, number)))


def _complex_normal(draw: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.complex128]:
    """CN(0, 1), the h of Rayleigh fading: |h|² is exponential, of mean 1."""
    real, imaginary = draw.standard_normal((2, *shape))
    h: npt.NDArray[np.complex128] = (real + 1j * imaginary) / np.sqrt(2)
    return h
