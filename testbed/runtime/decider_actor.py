"""The process that decides slots, for one run. A plain class; Ray wraps it, and calls it from two threads at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from testbed.documents.resolved import ResolvedTopology
from testbed.jobs.slot import SlotRow
from testbed.offloading.slot_policy import make_slot_policy
from testbed.offloading.slots import Assignment
from testbed.runtime.board import Board
from testbed.runtime.decider import Outlook, SlotClock, ahead_s, decide_slots, jobs_per_s
from testbed.runtime.memory import settle
from testbed.runtime.run_spec import RunSpec
from testbed.runtime.user_modules import make_importable_anew


class DeciderActor:
    """A policy that decides once a slot for all devices, in a thread of its own: it may take as long as it will."""

    def __init__(self, topology: bytes, board: str, spec: bytes, others: Sequence[Any] = ()) -> None:
        """Makes the policy. `others` are the networks' actors of the other machines, whose boards are told too.

        Raises:
            PolicyError: it cannot be made.
        """
        resolved = msgspec.msgpack.decode(topology, type=ResolvedTopology)
        self._others = others
        self._board = Board(Path(board), resolved)
        self._board.slots.clear()
        run = RunSpec.decode(spec)
        assert run.slots is not None
        make_importable_anew(run.search_path)
        os.chdir(run.search_path[0])  # files that options name are found where the command was called
        self._slots = run.slots
        self._ahead_s = ahead_s(resolved)
        rate = jobs_per_s(run.jobs, len(resolved.devices), run.slots.slot_s, run.chained_s)
        self._outlook = Outlook(resolved, self._board, run.profile, run.slots.slot_s, run.slots.deadline_s, rate)
        self._policy = make_slot_policy(run.policy, run.options, run.seed, estimate_error=run.estimate_error)
        self._rows: list[SlotRow] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def start(self, start_s: float) -> None:
        """Let the run begin at an instant of the monotonic clock; returns at once."""
        clock = SlotClock(start_s, self._slots.slot_s, self._ahead_s)
        arguments = (clock, self._outlook.observe, self._policy, self._post, self._rows.append, self._stopping)
        settle()
        self._thread = threading.Thread(target=decide_slots, args=arguments, daemon=True)
        self._thread.start()

    def collect(self) -> bytes:
        """The slots since the last call; msgpack, a list of rows."""
        count = len(self._rows)
        rows = msgspec.msgpack.encode(self._rows[:count])
        del self._rows[:count]
        return rows

    def finish(self, wait_s: float = 1.0) -> bytes:
        """Decide no more; the slots not yet collected. One that is being decided is waited for so long, no longer."""
        self._stopping.set()
        if self._thread:
            self._thread.join(wait_s)
        return self.collect()

    def _post(self, slot: int, assignments: dict[str, Assignment]) -> None:
        postings = self._outlook.postings(assignments)
        self._board.slots.post(slot, postings)
        if self._others:
            packed = msgspec.msgpack.encode(postings)
            for other in self._others:
                other.post.remote(slot, packed)
