"""The system model of one slot: how long each decision takes each device, and what that is worth.

Of Li, Iosifidis and Zhang (arXiv 2401.12167). Device u, edge s, split p, compression c; symbols in docs/offloading.md:

    t_local = W_u + F / f_u
    t_full  = W_u + t_enc + D / r_us + W_s + t_dec + F / f_us
    t_split = W_u + F_head(p) / f_u + t_enc + D(p, c) / r_us + W_s + t_dec + F_tail(p) / f_us
    reward  = accuracy if t <= deadline, else -psi min(1, (t - deadline) / deadline)

Of decisions of the same reward that is the better whose jobs are finished sooner (`SOONER`). t_enc and t_dec are the
profile's encode and decode FLOPs at the paces f_u and f_us; W_u is left out where the device computes nothing (raw
photographs), and is what a job finds that arrives later than the slot begins (`arriving`). Bytes, FLOPs and accuracies
are the profile's, measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from testbed.jobs.decision import Decision, Kind
from testbed.jobs.profile import Profile, ProfileRow
from testbed.offloading import arriving
from testbed.offloading.allocation import Divided, Limited, Shannon, shares
from testbed.offloading.arriving import Arrivals
from testbed.offloading.features import graph_of
from testbed.offloading.problem import Choices, Graph
from testbed.offloading.scenario import Floats

SOONER = 1e-3
"""Of a reward, what a deadline sooner is worth: less than a photograph more or less right in a thousand."""

_TOGETHER = 1 << 14
"""Rewards worked out in one go: small problems in few goes, large ones in the processor's cache."""


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
        self.kinds = np.array([[row.option.kind is kind for row in self.rows] for kind in Kind])  # [3, A]
        self.device_works, self.device_work = np.unique(self.device_flops, return_inverse=True)  # [A]: its number
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
    uplinks: Limited | Shannon  # [U * E]
    bands: npt.NDArray[np.int64]  # [U * E], the number of the band that the uplink has a share of
    edge_flops_per_s: Floats  # [E], as expected
    speeds: Floats  # [Q], equally likely FLOP/s of an edge as multiples of the expected
    edge_backlog_s: Floats  # [E]
    arrivals: Arrivals
    allowed: npt.NDArray[np.bool_]  # [U, A]
    psi: float


class EqualShares(NamedTuple):
    """What each device would meet, `[U, A]`, if all devices were spread evenly over the edges, in equal shares.

    A band is then used by as many as could come by it, divided by the edges; by one at least.
    """

    uplink_s: Floats  # 0 for local, and so are the others
    edge_s: Floats  # waiting included
    completion_s: Floats
    reward: Floats
    alone_s: Floats  # completion with an edge of its own: no decision for all can be faster


class Shares(NamedTuple):
    """What each device has, `[U]`; 0 where it computes locally."""

    uplink: Floats  # of the band
    compute: Floats  # of the edge


class OffloadingProblem:
    """The decision of one slot on what is known when it is decided. Implements `SlotProblem`."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._flat_left_s = (terms.deadline_s[:, None] - terms.device_s - terms.wait_s).ravel()
        self._flat_bits = terms.uplink_bits.ravel()
        self._devices = np.arange(len(terms.deadline_s))
        self._band_count = int(terms.bands.max()) + 1

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
        edges = len(terms.edge_flops_per_s)
        users = max(1.0, len(terms.deadline_s) / edges)
        band_users = np.maximum(1.0, np.bincount(terms.bands)[terms.bands] / edges)
        fixed_s = terms.device_s + terms.wait_s
        uplink_s, compute_s = self._uplink_s(1 / band_users), self._compute_s * users
        completion_s = fixed_s + uplink_s + compute_s
        return EqualShares(
            uplink_s=uplink_s,
            edge_s=np.where(menu.edge >= 0, terms.wait_s + compute_s, 0.0),
            completion_s=completion_s,
            reward=self._of_each(completion_s, compute_s),
            alone_s=fixed_s + self._uplink_s(1.0) + self._compute_s,
        )

    @cached_property
    def highest_rewards(self) -> Floats:
        """`[U, A]`: what each option of a device is worth with an edge of its own; no decision for all gives more."""
        return self._of_each(self.equal_shares.alone_s, self._compute_s)

    def _of_each(self, completion_s: Floats, computing_s: Floats) -> Floats:
        """`[U, A]`: the mean reward of each option of each device."""
        terms = self.terms
        deadline_s, probability = terms.deadline_s[:, None], terms.arrivals.probability[..., None]
        return self._expected(completion_s, computing_s, deadline_s, terms.menu.accuracy, probability, self._later_s)

    @cached_property
    def _compute_s(self) -> Floats:
        """`[A]`: at an edge that does nothing else."""
        menu = self.terms.menu
        return menu.edge_flops / self.terms.edge_flops_per_s[menu.edge]

    @cached_property
    def _later_s(self) -> Floats:
        """`[Q, U, A]`: in each way in which jobs may come, how much longer they take than at the slot's beginning."""
        terms, menu = self.terms, self.terms.menu
        backlog_s, own_s = terms.device_backlog_s[:, None], menu.device_works / terms.device_flops_per_s[:, None]
        _, after_s, gap_s = terms.arrivals
        waits_s = arriving.wait_s(backlog_s, own_s, after_s[..., None], gap_s[..., None])
        later: Floats = (waits_s - np.where(own_s > 0, backlog_s, 0.0))[..., menu.device_work]
        return later

    def _uplink_s(self, share: Floats | float) -> Floats:
        """`[U, A]`"""
        terms, edge = self.terms, self.terms.menu.edge
        rate = terms.uplinks.rate(share).reshape(-1, len(terms.edge_flops_per_s))
        return np.where(edge >= 0, terms.uplink_bits / rate[:, edge], 0.0)

    def rewards(self, choices: Choices) -> Floats:
        """`[K]`: the mean over devices of each decision's reward, bandwidth and compute allotted (`allocation`), less
        a little for the time it takes (`SOONER`).

        Channels are taken as estimated; over what edges may give and when jobs may come, known by distributions alone,
        it is the mean.
        """
        terms, menu = self.terms, self.terms.menu
        completion_s, (_, compute) = self.completions(choices)
        computing_s = np.divide(self._compute_s[choices], compute, out=np.zeros(choices.shape), where=compute > 0)
        later_s = self._later_s[:, self._devices, choices]
        accuracy = menu.accuracy[choices]
        probability = terms.arrivals.probability[:, None]
        expected = self._expected(completion_s, computing_s, terms.deadline_s, accuracy, probability, later_s)
        slowness = np.minimum(completion_s / terms.deadline_s, 2.0)
        mean: Floats = (expected - SOONER * slowness).mean(axis=1)
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
            pair = (away % devices) * edges + edge
            resource, band = terms.uplinks.at(pair), away // devices * self._band_count + terms.bands[pair]
            group = away // devices * edges + edge
            bits = self._flat_bits[options]
            work_s = self._compute_s[choice]
            left_s = self._flat_left_s[options]
            # until compute is allotted, an edge's devices are taken to finish there together
            together_s = np.bincount(group, work_s)[group]
            uplink[away] = shares(resource, bits, left_s - together_s, band)
            uplink_s = bits / resource.rate(uplink[away])
            compute[away] = shares(Divided(np.ones(len(away))), work_s, left_s - uplink_s, group)
            completion_s[away] += uplink_s + work_s / compute[away]
        shape = (candidates, devices)
        return completion_s.reshape(shape), Shares(uplink.reshape(shape), compute.reshape(shape))

    def _expected(
        self,
        completion_s: Floats,
        computing_s: Floats,
        deadline_s: Floats,
        accuracy: Floats,
        probability: Floats,
        later_s: Floats,
    ) -> Floats:
        """The mean reward, of the completion `computing_s` being the edge's part, over what the edge may give and over
        the ways in which jobs may come, `[Q, ...]`."""
        late = (completion_s + later_s) / deadline_s - 1  # [Q, ...]
        slower = 1 / self.terms.speeds - 1
        slower_by = computing_s / deadline_s
        total = np.zeros(completion_s.shape)
        ways, together = len(late) * len(slower), max(1, _TOGETHER // total.size)
        for first in range(0, ways, together):
            arrival, speed = np.divmod(np.arange(first, min(first + together, ways)), len(slower))
            taken = late[arrival]
            taken += slower[speed].reshape(-1, *(1,) * total.ndim) * slower_by
            total += (probability[arrival] * worth(taken, accuracy, self.terms.psi)).sum(axis=0)
        return total / len(slower)


def worth(late: Floats, accuracy: Floats, psi: float) -> Floats:
    """The reward of jobs: the accuracy on time, else a penalty that grows to psi at twice the deadline.

    `late` is completion by deadline, less 1; the rewards take its place.
    """
    on_time = late <= 0
    np.minimum(late, 1.0, out=late)
    late *= -psi
    np.copyto(late, accuracy, where=on_time)
    return late
