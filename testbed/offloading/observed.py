"""A run's slot as the system model sees it, so that what was trained on the model decides for real.

What the model has from Shannon is here the links as they are set: a share of a way's bandwidth passes that share of its
bits. Messages are counted as the links count them (`prediction`): the payload, what is unsent before it, the frame and
the headers of every segment, divided by one less the loss. The devices offloaded to an edge divide one band between
them, as in the model: shares at an edge sum to one.
"""

from __future__ import annotations

import math

import numpy as np

from testbed.jobs.observation import EdgeView, PathView
from testbed.jobs.profile import Profile
from testbed.offloading.allocation import Divided
from testbed.offloading.errors import PolicyError
from testbed.offloading.mec import Menu, OffloadingProblem, Terms
from testbed.offloading.prediction import ANSWER_BYTES, FRAME_BYTES, HEADER_BYTES, SEGMENT_BYTES, transfer_s
from testbed.offloading.problem import Choices
from testbed.offloading.slots import Assignment, SlotObservation

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
        figures = np.array([[_figures(view) for view in row] for row in views]).reshape(*shape, 5)
        rate, waiting_s, unsent, backlog_s, speed = figures.transpose(2, 0, 1)
        away, edge = menu.edge >= 0, menu.edge
        message = unsent[:, edge] + menu.payload_bits / 8 + FRAME_BYTES
        reached = rate > 0
        allowed = np.where(away, reached[:, edge], True)
        if len(stuck := np.flatnonzero(~allowed.any(axis=1))):
            raise PolicyError(f"{self.names[stuck[0]]} reaches no edge, and the profile has no local option")
        pace = np.array([device.flops_per_s for device in devices])
        own_backlog_s = np.array([device.backlog_s for device in devices])
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
                uplinks=Divided(np.where(reached, rate, 1.0).ravel()),
                edge_flops_per_s=speed.max(axis=0),
                speeds=np.ones(1),
                edge_backlog_s=np.where(reached, backlog_s, 0.0).sum(axis=0) / np.maximum(reached.sum(axis=0), 1),
                allowed=allowed,
                psi=psi,
            )
        )

    def assignments(self, choice: Choices) -> dict[str, Assignment]:
        """What each device is told, of a decision `[U]`: its option, and its share of the way's bandwidth."""
        _, (uplink, _) = self.completions(choice[None])
        return {
            name: Assignment(self.decisions[option], float(share) if share > 0 else 1.0)
            for name, option, share in zip(self.names, choice, uplink[0], strict=True)
        }


def _figures(view: EdgeView) -> tuple[float, float, float, float, float]:
    """Bits a second that arrive, what is waited beside uplink and compute, bytes unsent, backlog, FLOP/s."""
    up = view.up
    answer_s = transfer_s(ANSWER_BYTES, view.down)
    passes = up.bandwidth_bps > 0 and up.loss < 1 and math.isfinite(answer_s)
    rate = up.bandwidth_bps * (1 - up.loss) if passes else 0.0
    waiting_s = up.delay_s + view.backlog_s + answer_s if passes else 0.0
    return rate, waiting_s, float(view.unsent_bytes), view.backlog_s, view.flops_per_s
