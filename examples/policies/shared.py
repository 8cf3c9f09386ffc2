"""A policy that decides once a slot for all devices: each in turn, knowing what those before it were given."""

from collections import Counter

import msgspec

from testbed.jobs.decision import Decision
from testbed.jobs.job import Job
from testbed.jobs.observation import EdgeView, Observation
from testbed.jobs.profile import ProfileRow
from testbed.offloading.errors import PolicyError
from testbed.offloading.prediction import predict_s, reachable
from testbed.offloading.slots import Assignment, DeviceView, SlotObservation


class Shared:
    """The most accurate option predicted to be in time, with the work of the devices before it queued at the edges.

    `share` is the part of its way's bandwidth that a device which offloads is given.
    """

    def __init__(self, seed: int, share: float = 0.8) -> None:
        """Every class is given `seed`; the rest are options of the workload."""
        self.share = share

    def decide_slot(self, observation: SlotObservation) -> dict[str, Assignment]:
        """An assignment for every device."""
        rows = observation.profile.by_option
        promised: Counter[str] = Counter()  # seconds of work at each edge
        assignments = {}
        for device, view in observation.devices.items():
            seen = self._observation(device, view, observation, promised)
            decisions = reachable(seen)
            if not decisions:
                raise PolicyError(f"no edge can be reached from {device}")
            predicted = {one: predict_s(seen, one.option, one.edge) for one in decisions}
            in_time = [one for one in decisions if predicted[one] <= view.deadline_s] or [
                min(decisions, key=predicted.__getitem__)
            ]
            chosen = min(in_time, key=lambda one: (-rows[one.option].accuracy, predicted[one]))
            if chosen.edge is not None:
                promised[chosen.edge] += _edge_s(rows[chosen.option], view.edges[chosen.edge])
            assignments[device] = _assignment(chosen, self.share)
        return assignments

    def _observation(
        self, device: str, view: DeviceView, observation: SlotObservation, promised: Counter[str]
    ) -> Observation:
        """What a job that arrives now would see."""
        edges = {
            name: msgspec.structs.replace(
                edge,
                up=msgspec.structs.replace(edge.up, bandwidth_bps=self.share * edge.up.bandwidth_bps),
                backlog_s=edge.backlog_s + promised[name],
            )
            for name, edge in view.edges.items()
        }
        job = Job(0, device, 0, observation.now_s, view.deadline_s)
        return Observation(job, observation.now_s, view.backlog_s, view.flops_per_s, edges, observation.profile)


def _edge_s(row: ProfileRow, edge: EdgeView) -> float:
    return (row.decode_flops + row.tail_flops) / edge.flops_per_s


def _assignment(decision: Decision, share: float) -> Assignment:
    return Assignment(decision, share if decision.edge is not None else 1.0)
