"""The system model over a scenario: the problem of each slot, judged on the estimated state and scored on the true.

The equations: `system_model`.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from testbed.jobs.profile import Profile
from testbed.offloading import arriving
from testbed.offloading.allocation import LEAST_SNR, Shannon
from testbed.offloading.arriving import Arrivals
from testbed.offloading.problem import Choices
from testbed.offloading.scenario import Floats, Scenario, Slot
from testbed.offloading.system_model import Menu, OffloadingProblem, Terms, worth


class Outcome(msgspec.Struct, frozen=True):
    """What came of a slot's decision, by device `[U]`."""

    completion_s: Floats
    on_time: npt.NDArray[np.bool_]
    accuracy: Floats  # the expected accuracy of the answer, 0 for a late one
    energy_j: Floats  # of the device: computing and transmitting
    reward: Floats


class Mec:
    """The system model of a scenario and a profile: makes the problem of each slot."""

    def __init__(self, scenario: Scenario, profile: Profile) -> None:
        self.scenario = scenario
        self.menu = Menu(profile, [f"edge{number + 1}" for number in range(scenario.edges)])

    def problem(self, slot: Slot) -> MecProblem:
        """The decision of a slot."""
        return MecProblem(self, slot)


class MecProblem(OffloadingProblem):
    """The decision of one slot of a scenario, judged on the estimated state, and scored on the true one."""

    def __init__(self, mec: Mec, slot: Slot) -> None:
        scenario, menu = mec.scenario, mec.menu
        self.mec, self.slot = mec, slot
        backlog_s = np.where(menu.device_flops > 0, slot.device_backlog_s[:, None], 0.0)
        wait_s = np.where(menu.edge >= 0, slot.edge_backlog_s[menu.edge], 0.0)
        shape = (scenario.devices, len(menu))
        super().__init__(
            Terms(
                menu=menu,
                deadline_s=slot.deadline_s,
                device_flops_per_s=slot.device_flops_per_s,
                device_backlog_s=slot.device_backlog_s,
                device_s=backlog_s + menu.device_flops / slot.device_flops_per_s[:, None],
                wait_s=np.broadcast_to(wait_s, shape),
                uplink_bits=np.broadcast_to(menu.payload_bits, shape),
                uplinks=_channels(scenario, slot.estimated_gains),
                bands=np.tile(np.arange(scenario.edges), scenario.devices),
                edge_flops_per_s=np.full(scenario.edges, scenario.expected_flops_per_s),
                speeds=_midpoints(scenario.available_min, 1.0)
                * scenario.edge_flops_per_s
                / scenario.expected_flops_per_s,
                edge_backlog_s=slot.edge_backlog_s,
                arrivals=_arrivals(scenario),
                allowed=np.ones(shape, dtype=bool),
                psi=scenario.psi,
            )
        )

    def scored(self, choice: Choices) -> Outcome:
        """What comes of a decision, `[U]`: shares as allotted on the estimates, then channels and edges as they are."""
        terms, menu, scenario = self.terms, self.terms.menu, self.mec.scenario
        _, (uplinks, computes) = self.completions(choice[None])
        edge = menu.edge[choice]
        away = np.flatnonzero(edge >= 0)
        own = self._devices, choice
        completion_s = (terms.device_s + terms.wait_s)[own]
        own_s = menu.device_flops[choice] / terms.device_flops_per_s
        backlog_s, slot = terms.device_backlog_s, self.slot
        completion_s += arriving.wait_s(backlog_s, own_s, slot.after_s, slot.gap_s) - np.where(
            own_s > 0, backlog_s, 0.0
        )
        uplink_s = np.zeros(len(choice))
        channels = _channels(scenario, self.slot.gains).at(away * scenario.edges + edge[away])
        uplink_s[away] = terms.uplink_bits[own][away] / channels.rate(uplinks[0, away])
        completion_s += uplink_s
        pace = self.slot.edge_flops_per_s[edge[away]] * computes[0, away]
        completion_s[away] += menu.edge_flops[choice[away]] / pace
        on_time = completion_s <= terms.deadline_s
        computing_j = scenario.kappa * terms.device_flops_per_s**2 * menu.device_flops[choice]
        return Outcome(
            completion_s=completion_s,
            on_time=on_time,
            accuracy=np.where(on_time, menu.accuracy[choice], 0.0),
            energy_j=computing_j + scenario.power_w * uplink_s,
            reward=worth(completion_s / terms.deadline_s - 1, menu.accuracy[choice], terms.psi),
        )


def _channels(scenario: Scenario, gains: Floats) -> Shannon:
    snr = scenario.power_w * gains.ravel() / (scenario.noise_w_per_hz * scenario.bandwidth_hz)
    return Shannon(np.full(gains.size, scenario.bandwidth_hz), np.maximum(snr, LEAST_SNR))


def _arrivals(scenario: Scenario) -> Arrivals:
    if not scenario.jobs_per_s:
        return arriving.at_the_beginning(scenario.devices)
    return arriving.at_any_time(np.full(scenario.devices, scenario.jobs_per_s), scenario.slot_s)


def _midpoints(low: float, high: float, parts: int = 8) -> Floats:
    """The midpoints of equal parts of a range; one where it is none."""
    parts = parts if low < high else 1
    return low + (high - low) * (np.arange(parts) + 0.5) / parts
