"""Plays a timeline on the emulated network, a short while ahead, and tells what was applied when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from testbed.network.allotment import Allotted, AllottedPlan
from testbed.network.build import EmulatedNetwork
from testbed.network.links import AppliedChange, PlannedChange

# How far ahead changes are handed over. The backend keeps their instants, so that a late thread does no harm; what
# decides at run time can still act on all that lies farther ahead.
_HORIZON_NS = 200_000_000
_TELL_S = 0.01  # how often what was applied is asked for
_ALLOTTING_HORIZON_NS = 50_000_000  # less, where it is planned anew with every allotment
_ALLOTTING_S = 0.003  # how often it is asked for allotments


class Player:
    """Hands planned changes to the network and what was applied to `told`, in a thread of its own, until stopped."""

    def __init__(
        self,
        network: EmulatedNetwork,
        changes: Iterator[PlannedChange],
        told: Callable[[list[AppliedChange]], None],
        allotted: Callable[[], Allotted | None] | None = None,
    ) -> None:
        """Begins to play `changes`, which come by their instants.

        `allotted`, where links are allotted at run time, says what was since it was last asked, None for nothing new.
        """
        self._network, self._changes, self._hear, self._allotted = network, changes, told, allotted
        self._found = network.links()
        self._plan = AllottedPlan(self._found)
        self._touched: set[tuple[str, str]] = set()
        self._faults: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._guarded, args=(self._play,), daemon=True)
        self._thread.start()

    def stop(self) -> list[str]:
        """Ends the play, tells what was applied last, and puts the links back as the player found them.

        Returns:
            What went wrong from the beginning on: a change that was refused ends the play, and the rest is not played.
        """
        self._stopping.set()
        self._thread.join()
        self._guarded(lambda: self._told(self._network.cancel()))
        for link in self._touched:
            self._guarded(partial(self._network.set_link, *link, *self._found[link]))
        return self._faults

    def _guarded(self, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # whatever it is: a run whose links were not as told must learn of it
            self._faults.append(f"the links were not as planned: {error}")

    def _told(self, changes: list[AppliedChange]) -> None:
        self._plan.applied([change.planned for change in changes])
        self._hear(changes)

    def _play(self) -> None:
        self._network.schedule([])  # what the backend has to start for its first changes is started well before them
        horizon_ns = _HORIZON_NS if self._allotted is None else _ALLOTTING_HORIZON_NS
        following, fresh = next(self._changes, None), None
        while (following or self._plan.waiting or self._allotted) and not self._stopping.is_set():
            until_ns = time.monotonic_ns() + horizon_ns
            batch = []
            while following and following.at_ns <= until_ns:
                batch.append(following)
                following = next(self._changes, None)
            if batch:
                self._touched.update(change.link for change in batch)
                self._network.schedule(self._plan.add(batch))
            self._told(self._network.applied())
            if self._allotted:
                fresh = fresh or self._allotted()
                if fresh and fresh.at_ns <= until_ns:  # all that changes until then is planned
                    self._allot(fresh)
                    fresh = None
                self._stopping.wait(_ALLOTTING_S)
            elif self._plan.waiting:
                self._stopping.wait(_TELL_S)
            elif following:
                self._stopping.wait((following.at_ns - until_ns) / 1e9)

    def _allot(self, allotted: Allotted) -> None:
        self._told(self._network.cancel())
        self._touched.update(link for link, _ in allotted.directions)
        self._network.schedule(self._plan.allot(allotted))
