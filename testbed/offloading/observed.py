"""A run's slot as the system model sees it, so that what was trained on the model decides for real.

What the model has from Shannon is here the links as they are set. Messages are counted as the links count them
(`prediction`): the payload, what is unsent before it, the frame and the headers of every segment, divided by one less
the loss. What an access point shares out is divided among the devices that send through it, whichever edges they send
to; a link that shares nothing is its device's own. Where jobs arrive at any time, so does the slot's (`arriving`).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from testbed.jobs.observation import EdgeView, PathView
from testbed.jobs.profile import Profile
from testbed.offloading.allocation import Limited
from testbed.offloading.arriving import Arrivals, at_any_time, at_the_beginning
from testbed.offloading.errors import PolicyError
from testbed.offloading.prediction import ANSWER_BYTES, FRAME_BYTES, HEADER_BYTES, SEGMENT_BYTES, transfer_s
from testbed.offloading.problem import Choices
from testbed.offloading.slots import Assignment, SlotObservation
from testbed.offloading.system_model import Menu, OffloadingProblem, Terms

_ABSENT = EdgeView(PathView(0.0, 0.0, 1.0), PathView(1.0, 0.0, 0.0), 0.0, 1.0)  # passes nothing


class ObservedMec:
    """Makes the problem of each slot of a run; `psi` is the penalty of being late by a deadline or more."""

    def __init__(self, psi: float = 1.0) -> None:
        self.psi = psi
        self._known: tuple[Profile, tuple[str, ...], Menu] | None = None

    def problem(self, observation: SlotObservation) -> ObservedProblem:
        """The decision of a slot.

        Raises:
            PolicyError: nothing can be decided for a device, as it reaches no edge and the profile has nothing local.
        """
        return ObservedProblem(observation, self._menu(observation), self.psi)

    def _menu(self, observation: SlotObservation) -> Menu:
        reached = {edge for device in observation.devices.values() for edge in device.edges}
        edges = tuple(sorted(reached)) or ("",)  # or one that nobody reaches
        if self._known is None or self._known[0] is not observation.profile or self._known[1] != edges:
            self._known = observation.profile, edges, Menu(observation.profile, edges)
        return self._known[2]


class ObservedProblem(OffloadingProblem):
    """The decision of one slot of a run; devices are in the observation's order, edges in that of their names."""

    def __init__(self, observation: SlotObservation, menu: Menu, psi: float) -> None:
        self.names = tuple(observation.devices)
        devices = list(observation.devices.values())
        views = [[device.edges.get(edge, _ABSENT) for edge in menu.edges] for device in devices]
        shape = (len(devices), len(menu.edges))
        figures = np.array([[_figures(view) for view in row] for row in views]).reshape(*shape, 6)
        rate, total, waiting_s, unsent, backlog_s, speed = figures.transpose(2, 0, 1)
        away, edge = menu.edge >= 0, menu.edge
        message = unsent[:, edge] + menu.payload_bits / 8 + FRAME_BYTES
        reached = rate > 0
        allowed = np.where(away, reached[:, edge], True)
        if len(stuck := np.flatnonzero(~allowed.any(axis=1))):
            raise PolicyError(f"{self.names[stuck[0]]} reaches no edge, and the profile has no local option")
        pace = np.array([device.flops_per_s for device in devices])
        own_backlog_s = np.array([device.backlog_s for device in devices])
        self._links = Limited(np.where(reached, total, 1.0).ravel(), np.where(reached, rate, 1.0).ravel())
        super().__init__(
            Terms(
                menu=menu,
                deadline_s=np.array([device.deadline_s for device in devices]),
                device_flops_per_s=pace,
                device_backlog_s=own_backlog_s,
                device_s=np.where(
                    menu.device_flops > 0, own_backlog_s[:, None] + menu.device_flops / pace[:, None], 0.0
                ),
                wait_s=np.where(away, waiting_s[:, edge], 0.0),
                uplink_bits=8 * (message + HEADER_BYTES * np.ceil(message / SEGMENT_BYTES)),
                uplinks=self._links,
                bands=_bands(views),
                edge_flops_per_s=speed.max(axis=0),
                speeds=np.ones(1),
                edge_backlog_s=np.where(reached, backlog_s, 0.0).sum(axis=0) / np.maximum(reached.sum(axis=0), 1),
                arrivals=_arrivals(observation),
                allowed=allowed,
                psi=psi,
            )
        )

    def assignments(self, choice: Choices) -> dict[str, Assignment]:
        """What each device is told, of a decision `[U]`: its option, and its share of the way's bandwidth."""
        _, (uplink, _) = self.completions(choice[None])
        edge = self.terms.menu.edge[choice]
        whole, most = (part.reshape(len(choice), -1)[self._devices, edge] for part in self._links)
        share = np.where(edge >= 0, np.minimum(uplink[0] * whole / most, 1.0), 1.0)
        return {
            name: Assignment(self.decisions[option], given)
            for name, option, given in zip(self.names, choice, share.tolist(), strict=True)
        }


def _arrivals(observation: SlotObservation) -> Arrivals:
    jobs_per_s = np.array([device.jobs_per_s for device in observation.devices.values()])
    return at_any_time(jobs_per_s, observation.slot_s) if jobs_per_s.any() else at_the_beginning(len(jobs_per_s))


def _figures(view: EdgeView) -> tuple[float, float, float, float, float, float]:
    """Bits a second that arrive: of the link, and of all that it shares; what is waited beside uplink and compute,
    bytes unsent, backlog, FLOP/s."""
    up = view.up
    answer_s = transfer_s(ANSWER_BYTES, view.down)
    passes = up.bandwidth_bps > 0 and up.loss < 1 and math.isfinite(answer_s)
    rate = up.bandwidth_bps * (1 - up.loss) if passes else 0.0
    total = max(rate, view.air.bandwidth_bps * (1 - up.loss)) if view.air else rate
    waiting_s = up.delay_s + view.backlog_s + answer_s if passes else 0.0
    return rate, total, waiting_s, float(view.unsent_bytes), view.backlog_s, view.flops_per_s


def _bands(views: list[list[EdgeView]]) -> npt.NDArray[np.int64]:
    """`[U * E]`: the same number for ways through the same air, and for those of a device that share nothing."""
    numbers: dict[str | int, int] = {}
    return np.array(
        [
            numbers.setdefault(view.air.access_point if view.air else device, len(numbers))
            for device, row in enumerate(views)
            for view in row
        ]
    )
