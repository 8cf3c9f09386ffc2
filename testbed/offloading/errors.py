"""What can go wrong with a policy."""

from __future__ import annotations


class PolicyError(ValueError):
    """A policy that cannot be made, or that decides what cannot be done. The message says what is allowed."""


class NoEdge(Exception):  # noqa: N818  an ordinary event of a run, not a fault
    """The policy wants an edge and none that it may use can be reached: the job is dropped with this reason."""


class NotPossible(PolicyError):  # noqa: N818  said of a decision
    """A policy of the user's own decided what cannot be done."""


class OutOfReach(NoEdge):
    """A policy of the user's own decided an edge that cannot be reached."""
