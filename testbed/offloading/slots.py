"""Policies that decide once a slot for all devices together."""

from __future__ import annotations

from typing import Protocol

import msgspec

from testbed.jobs.decision import Decision
from testbed.jobs.observation import EdgeView
from testbed.jobs.profile import Profile


class DeviceView(msgspec.Struct, frozen=True):
    """A device as a policy sees it. Edges that cannot be reached now are absent."""

    deadline_s: float  # what its jobs have, from their arrival
    backlog_s: float  # seconds of work that the device itself will hold when the slot begins
    flops_per_s: float  # its pace
    edges: dict[str, EdgeView]  # bandwidths as the links are set, whatever shares of them were allotted before
    jobs_per_s: float = 0.0
    """How many arrive on average, at any time; 0: one at the slot's beginning at the most. Whether one will is not
    known when a slot is decided."""


class SlotObservation(msgspec.Struct, frozen=True):
    """All that a policy may use to decide one slot."""

    now_s: float  # since the run's start
    slot_s: float
    devices: dict[str, DeviceView]
    profile: Profile


class Assignment(msgspec.Struct, frozen=True):
    """What a device does with the jobs that arrive in the slot."""

    decision: Decision
    uplink_share: float = 1.0  # of the way's bandwidth as set, above 0 to 1: what its link to the access point is given


class SlotPolicy(Protocol):
    """Decides slots, one after another."""

    def decide_slot(self, observation: SlotObservation) -> dict[str, Assignment]:
        """An assignment for every device of the observation.

        Raises:
            PolicyError: the policy cannot decide for devices, edges or a profile like these.
        """
        ...
