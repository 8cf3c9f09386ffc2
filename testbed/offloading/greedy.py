"""The greedy policy: the best accuracy that is predicted to be in time."""

from __future__ import annotations

from testbed.jobs.decision import Decision
from testbed.jobs.observation import Observation
from testbed.offloading.errors import NoEdge
from testbed.offloading.prediction import predict_s, reachable


class Greedy:
    """Takes the highest accuracy of the profile among the decisions predicted to meet the deadline.

    The deadline runs from the job's arrival. Ties go to the shortest predicted completion, and so does every job for
    which no decision is predicted to be in time.
    """

    def decide(self, observation: Observation) -> Decision:
        """The best decision by the model of `prediction`.

        Raises:
            NoEdge: the profile has no local option and no edge can be reached.
        """
        decisions = reachable(observation)
        if not decisions:
            raise NoEdge(f"no edge can be reached from {observation.job.device}")
        predicted = {decision: predict_s(observation, decision.option, decision.edge) for decision in decisions}
        left_s = observation.job.deadline_s - (observation.now_s - observation.job.arrival_s)
        feasible = [decision for decision in decisions if predicted[decision] <= left_s]
        if not feasible:
            return min(decisions, key=predicted.__getitem__)
        rows = observation.profile.by_option
        return min(feasible, key=lambda decision: (-rows[decision.option].accuracy, predicted[decision]))
