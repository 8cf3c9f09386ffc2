"""The policies that do not weigh anything: always local, always offloaded whole, always split alike, at random."""

from __future__ import annotations

import numpy as np

from testbed.jobs.decision import LOCAL, Decision, Kind, OperatingPoint, Option
from testbed.jobs.observation import Observation
from testbed.offloading.errors import NoEdge
from testbed.offloading.prediction import predict_s, reachable


class Local:
    """Computes every job on its own device."""

    def decide(self, observation: Observation) -> Decision:
        """Local, always."""
        return Decision(LOCAL)


class Bound:
    """Sends every job to an edge with one and the same option.

    The edge is the one named, or else the one with the shortest predicted completion.
    """

    def __init__(self, option: Option, edge: str | None = None) -> None:
        self.option = option
        self.edge = edge

    def decide(self, observation: Observation) -> Decision:
        """The option at its edge.

        Raises:
            NoEdge: the edge named, or every edge, is out of reach.
            PolicyError: the profile lacks the option.
        """
        edges = sorted(observation.edges)
        if self.edge is not None:
            if self.edge not in edges:
                raise NoEdge(f"{self.edge} cannot be reached from {observation.job.device}")
            return Decision(self.option, self.edge)
        if not edges:
            raise NoEdge(f"no edge can be reached from {observation.job.device}")
        return Decision(self.option, min(edges, key=lambda edge: predict_s(observation, self.option, edge)))


class Full(Bound):
    """Offloads the photograph, as `jpeg`, as `raw` pixels, or compressed once more, such as `webp-10`."""

    def __init__(self, encoding: str = "jpeg", edge: str | None = None) -> None:
        super().__init__(Option(Kind.FULL, encoding), edge)


class Fixed(Bound):
    """Splits every inference at one operating point, of AECNN's or of another method's."""

    def __init__(
        self, split: str, kept_channels: int, bits: int, edge: str | None = None, encoding: str = "aecnn"
    ) -> None:
        super().__init__(Option(Kind.SPLIT, encoding, OperatingPoint(split, kept_channels, bits)), edge)


class Random:
    """Draws uniformly from the decisions that can be taken now.

    The draw is a function of the seed and the job id alone, so that a run replays whatever the order of its jobs.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def decide(self, observation: Observation) -> Decision:
        """One of the reachable decisions, each as likely.

        Raises:
            NoEdge: there is none, as the profile has no local option and no edge can be reached.
        """
        decisions = reachable(observation)
        if not decisions:
            raise NoEdge(f"no edge can be reached from {observation.job.device}")
        draw = np.random.default_rng((self.seed, observation.job.job_id))
        return decisions[int(draw.integers(len(decisions)))]
