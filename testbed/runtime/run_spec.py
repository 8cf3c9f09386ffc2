"""What the actors are told of a run before it starts."""

from __future__ import annotations

from typing import Any

import msgspec

from testbed.documents.resolved import ResolvedTopology, RuntimeName, StartEvent, StopEvent
from testbed.jobs.decision import Option
from testbed.jobs.job import Job
from testbed.jobs.profile import Profile


class NodeAddress(msgspec.Struct, frozen=True):
    """Where a node lives: a process in its network namespace, and its address there."""

    pid: int
    address: str


class SlotSpec(msgspec.Struct, frozen=True):
    """What a run that is decided by slots knows beside others."""

    slot_s: float
    deadline_s: float  # of every job; where they differ, the tightest


class RunSpec(msgspec.Struct, frozen=True):
    """One run under one policy, with every job drawn."""

    topology: ResolvedTopology
    nodes: dict[str, NodeAddress]  # devices and edges
    checkpoint: str
    images: str
    store: str  # the payload store's folder
    profile: Profile
    labels: dict[int, int]  # photograph to class, for the photographs of the run
    policy: str
    options: dict[str, Any]
    estimate_error: float
    search_path: tuple[str, ...]  # folders that hold users' modules
    seed: int
    jobs: tuple[Job, ...]
    drain_s: float  # from the run's start: what is unanswered then has failed
    node_events: tuple[StopEvent | StartEvent, ...] = ()  # by time: each node knows beforehand when it goes off and on
    runtime: RuntimeName = "onnx"  # what computes the network
    choosable: tuple[Option, ...] | None = None  # by the policies of the workload; None: every option
    slots: SlotSpec | None = None  # of a policy that decides slots
    chained_s: float | None = None  # until then each device issues a job when its last has ended; None: as they arrive

    def encode(self) -> bytes:
        """As bytes, for between processes."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> RunSpec:
        """From bytes.

        Raises:
            msgspec.MsgspecError: the bytes are not a run's.
        """
        return msgspec.msgpack.decode(data, type=cls)
