"""The system model of one slot: how long each decision takes each device, and what that is worth.

Of Li, Iosifidis and Zhang (arXiv 2401.12167). Device u, edge s, split p, compression c; symbols in docs/offloading.md:

    t_local = W_u + F / f_u
    t_full  = W_u + t_enc + D / r_us + W_s + t_dec + F / f_us
    t_split = W_u + F_head(p) / f_u + t_enc + D(p, c) / r_us + W_s + t_dec + F_tail(p) / f_us
    reward  = accuracy if t <= deadline, else -psi min(1, (t - deadline) / deadline)

t_enc and t_dec are the profile's encode and decode FLOPs at the paces f_u and f_us; W_u is left out where the device
computes nothing (raw photographs). Bytes, FLOPs and accuracies are the profile's, measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from testbed.jobs.decision import Decision, Kind
from testbed.jobs.profile import Profile, ProfileRow
from testbed.offloading.allocation import LEAST_SNR, Divided, Shannon, shares
from testbed.offloading.features import graph_of
from testbed.offloading.problem import Choices, Graph
from testbed.offloading.scenario import Floats, Scenario, Slot


class Menu:
    """The options of every device, A of them: each row of a profile, at each edge unless it is local.

    The arrays are one entry an option; `edge` is -1 for local.
    """

    def __init__(self, profile: Profile, edges: Sequence[str]) -> None:
        entries = [
            (row, edge)
            for row in profile.rows
            for edge in ([-1] if row.option.kind is Kind.LOCAL else range(len(edges)))
        ]
        self.rows: tuple[ProfileRow, ...] = tuple(row for row, _ in entries)
        self.decisions = tuple(Decision(row.option, edges[edge] if edge >= 0 else None) for row, edge in entries)
        self.edges = tuple(edges)
        self.edge = np.array([edge for _, edge in entries], dtype=np.int64)
        self.accuracy = np.array([row.accuracy for row in self.rows])
        self.payload_bits = np.maximum([8.0 * row.payload_mean for row in self.rows], 1.0)  # so that shares are defined
        self.device_flops = np.array([row.head_flops + row.encode_flops for row in self.rows])
        self.edge_flops = np.maximum([row.decode_flops + row.tail_flops for row in self.rows], 1.0)
        self.edge_flops[self.edge < 0] = 0.0
        self.whole_flops = max(row.head_flops + row.tail_flops for row in self.rows)
        self.photograph_bits = 8.0 * 3 * profile.input_px**2

    def __len__(self) -> int:
        return len(self.decisions)


class Terms(NamedTuple):
    """What a slot's decision takes, U devices, A options, E edges: all that differs between a model and a run."""

    menu: Menu
    deadline_s: Floats  # [U]
    device_flops_per_s: Floats  # [U]
    device_backlog_s: Floats  # [U]
    device_s: Floats  # [U, A], on the device, its backlog included
    wait_s: Floats  # [U, A], beside device, uplink and compute: the edge's backlog, delays, the answer
    uplink_bits: Floats  # [U, A]
    uplinks: Divided | Shannon  # [U * E]
    edge_flops_per_s: Floats  # [E], as expected
    speeds: Floats  # [Q], equally likely FLOP/s of an edge as multiples of the expected
    edge_backlog_s: Floats  # [E]
    allowed: npt.NDArray[np.bool_]  # [U, A]
    psi: float


class EqualShares(NamedTuple):
    """What each device would meet, `[U, A]`, if all devices were spread evenly over the edges, in equal shares."""

    uplink_s: Floats  # 0 for local, and so are the others
    edge_s: Floats  # waiting included
    completion_s: Floats
    reward: Floats
    alone_s: Floats  # completion with an edge of its own: no decision for all can be faster


class Shares(NamedTuple):
    """Of its edge, what each device has, `[U]`; 0 where it computes locally."""

    uplink: Floats
    compute: Floats


class OffloadingProblem:
    """The decision of one slot on what is known when it is decided. Implements `SlotProblem`."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._flat_left_s = (terms.deadline_s[:, None] - terms.device_s - terms.wait_s).ravel()
        self._flat_bits = terms.uplink_bits.ravel()
        self._devices = np.arange(len(terms.deadline_s))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What the options are, `[A]`."""
        return self.terms.menu.decisions

    @cached_property
    def graph(self) -> Graph:
        """What an actor sees (`features`)."""
        return graph_of(self.terms, self.equal_shares)

    @cached_property
    def equal_shares(self) -> EqualShares:
        """Each option of each device, judged on its own."""
        terms, menu = self.terms, self.terms.menu
        users = max(1.0, len(terms.deadline_s) / len(terms.edge_flops_per_s))
        fixed_s = terms.device_s + terms.wait_s
        uplink_s, compute_s = self._uplink_s(1 / users), self._compute_s * users
        completion_s = fixed_s + uplink_s + compute_s
        return EqualShares(
            uplink_s=uplink_s,
            edge_s=np.where(menu.edge >= 0, terms.wait_s + compute_s, 0.0),
            completion_s=completion_s,
            reward=self._expected(completion_s, compute_s, terms.deadline_s[:, None], menu.accuracy),
            alone_s=fixed_s + self._uplink_s(1.0) + self._compute_s,
        )

    @cached_property
    def highest_rewards(self) -> Floats:
        """`[U, A]`: what each option of a device is worth with an edge of its own; no decision for all gives more."""
        terms = self.terms
        alone_s = self.equal_shares.alone_s
        return self._expected(alone_s, self._compute_s, terms.deadline_s[:, None], terms.menu.accuracy)

    @cached_property
    def _compute_s(self) -> Floats:
        """`[A]`: at an edge that does nothing else."""
        menu = self.terms.menu
        return menu.edge_flops / self.terms.edge_flops_per_s[menu.edge]

    def _uplink_s(self, share: float) -> Floats:
        """`[U, A]`"""
        terms, edge = self.terms, self.terms.menu.edge
        rate = terms.uplinks.rate(share).reshape(-1, len(terms.edge_flops_per_s))
        return np.where(edge >= 0, terms.uplink_bits / rate[:, edge], 0.0)

    def rewards(self, choices: Choices) -> Floats:
        """`[K]`: the mean over devices of each decision's reward, bandwidth and compute allotted (`allocation`).

        Channels are taken as estimated; over what edges may give, known by its distribution alone, it is the mean.
        """
        terms, menu = self.terms, self.terms.menu
        completion_s, (_, compute) = self.completions(choices)
        computing_s = np.divide(self._compute_s[choices], compute, out=np.zeros(choices.shape), where=compute > 0)
        expected = self._expected(completion_s, computing_s, terms.deadline_s, menu.accuracy[choices])
        mean: Floats = expected.mean(axis=1)
        return mean

    def completions(self, choices: Choices) -> tuple[Floats, Shares]:
        """`[K, U]`: seconds until each device has its answer, and the shares allotted, `[K, U]` too."""
        terms, menu = self.terms, self.terms.menu
        candidates, devices = choices.shape
        edges = len(terms.edge_flops_per_s)
        options = (self._devices * len(menu) + choices).ravel()
        completion_s = np.broadcast_to(terms.deadline_s, choices.shape).ravel() - self._flat_left_s[options]
        uplink, compute = np.zeros(choices.size), np.zeros(choices.size)
        choice = choices.ravel()
        away = np.flatnonzero(menu.edge[choice] >= 0)
        if len(away):
            options, choice = options[away], choice[away]
            edge = menu.edge[choice]
            resource = terms.uplinks.at((away % devices) * edges + edge)
            group = away // devices * edges + edge
            bits = self._flat_bits[options]
            work_s = self._compute_s[choice]
            left_s = self._flat_left_s[options]
            # until compute is allotted, an edge's devices are taken to finish there together
            together_s = np.bincount(group, work_s)[group]
            uplink[away] = shares(resource, bits, left_s - together_s, group)
            uplink_s = bits / resource.rate(uplink[away])
            compute[away] = shares(Divided(np.ones(len(away))), work_s, left_s - uplink_s, group)
            completion_s[away] += uplink_s + work_s / compute[away]
        shape = (candidates, devices)
        return completion_s.reshape(shape), Shares(uplink.reshape(shape), compute.reshape(shape))

    def _expected(self, completion_s: Floats, computing_s: Floats, deadline_s: Floats, accuracy: Floats) -> Floats:
        """The mean reward, of the completion `computing_s` being the edge's part, over what the edge may give."""
        speeds, psi = self.terms.speeds, self.terms.psi
        total = np.zeros(completion_s.shape)
        for longer in 1 / speeds - 1:
            total += worth(completion_s + longer * computing_s, deadline_s, accuracy, psi)
        return total / len(speeds)


def worth(completion_s: Floats, deadline_s: Floats, accuracy: Floats, psi: float) -> Floats:
    """The reward of jobs: the accuracy on time, else a penalty that grows to psi at twice the deadline."""
    late = completion_s / deadline_s - 1
    return np.where(late <= 0, accuracy, -psi * np.minimum(late, 1.0))


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
                edge_flops_per_s=np.full(scenario.edges, scenario.expected_flops_per_s),
                speeds=_midpoints(scenario.available_min, 1.0)
                * scenario.edge_flops_per_s
                / scenario.expected_flops_per_s,
                edge_backlog_s=slot.edge_backlog_s,
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
            reward=worth(completion_s, terms.deadline_s, menu.accuracy[choice], terms.psi),
        )


def _channels(scenario: Scenario, gains: Floats) -> Shannon:
    snr = scenario.power_w * gains.ravel() / (scenario.noise_w_per_hz * scenario.bandwidth_hz)
    return Shannon(np.full(gains.size, scenario.bandwidth_hz), np.maximum(snr, LEAST_SNR))


def _midpoints(low: float, high: float, parts: int = 8) -> Floats:
    """The midpoints of equal parts of a range."""
    return low + (high - low) * (np.arange(parts) + 0.5) / parts
