"""A policy that decides job by job: the most accurate option that is predicted to be done well before the deadline."""

from testbed.jobs.decision import Decision
from testbed.jobs.observation import Observation
from testbed.offloading.policy import NoEdge
from testbed.offloading.prediction import predict_s, reachable


class Cautious:
    """Greedy that trusts its prediction only so far."""

    def __init__(self, seed: int, margin: float = 0.25) -> None:
        """`margin` is the part of the deadline that is to be left over. Every class is given `seed`."""
        self.margin = margin

    def decide(self, observation: Observation) -> Decision:
        """The decision for `observation.job`."""
        decisions = reachable(observation)
        if not decisions:
            raise NoEdge(f"no edge can be reached from {observation.job.device}")
        predicted = {one: predict_s(observation, one.option, one.edge) for one in decisions}
        in_time = [one for one in decisions if predicted[one] <= (1 - self.margin) * observation.job.deadline_s]
        rows = observation.profile.by_option
        ranks = {one: (-rows[one.option].accuracy, predicted[one]) for one in in_time}
        return min(ranks, key=ranks.__getitem__) if ranks else min(predicted, key=predicted.__getitem__)
