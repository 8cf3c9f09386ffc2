"""What happens to the links and the edges' processes in one run, done and recorded."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Mapping

import msgspec

from testbed.documents.resolved import Event, KillEvent, ResolvedTopology
from testbed.jobs.slot import DecidedBy, decided_by
from testbed.network.allotment import Allotment, Allotted, Direction
from testbed.network.build import EmulatedNetwork
from testbed.network.event_log import EventLog, Happened
from testbed.network.links import AppliedChange
from testbed.network.player import Player
from testbed.network.record import LinkRows
from testbed.network.timeline import Timeline
from testbed.runtime.board import Board
from testbed.runtime.slot_board import Posting


class Played(msgspec.Struct):
    """What is left to tell of a run's links when it has ended."""

    rows: LinkRows = msgspec.field(default_factory=LinkRows)  # those not taken yet
    events: list[Happened] = []
    faults: list[str] = []  # why the links were not as planned
    cpu_busy: list[float] = []  # of the machine's CPUs, 0 to 1, between collections


class Playing:
    """One run's channels and events, played from its start on until stopped."""

    def __init__(
        self,
        network: EmulatedNetwork,
        board: Board,
        start_ns: int,
        events: Iterable[Event],
        seed: int,
        edges: Mapping[str, int],
        slot_s: float | None = None,
    ) -> None:
        """Begins to play.

        Args:
            network: its links as they are now are what channels and events change, and what is put back.
            board: told of each change some 10 ms after it was applied, as if nothing were allotted of the links.
            start_ns: the run's start, on the monotonic clock.
            events: in any order.
            seed: of the channels.
            edges: the processes of the edges, for kills.
            slot_s: in a run that is decided by slots, their length: links are given the rates that the board's slots
                allot them.
        """
        found = network.links()
        events = tuple(events)
        self._board, self._start_ns, self._edges, self._sends = board, start_ns, edges, network.sends
        self._rows, self._lock = LinkRows(), threading.Lock()
        for link, both in found.items():
            for direction, parameters in enumerate(both):
                if network.sends(link, direction):  # of several machines, one plays each direction
                    self._rows.add(0.0, 0.0, link, direction, parameters)
        self._log = EventLog(events, found)
        self._stopping = threading.Event()
        kills = sorted((event for event in events if isinstance(event, KillEvent)), key=lambda event: event.at_s)
        self._killer = threading.Thread(target=self._kill, args=(kills,), daemon=True)
        changes = Timeline(network.topology, found, events, seed).changes(start_ns)
        allotted = _Allotting(network.topology, board, start_ns, round(slot_s * 1e9)).fresh if slot_s else None
        self._player = Player(network, changes, self._told, allotted)
        self._killer.start()

    def take_rows(self) -> LinkRows:
        """The links as set since the last call; the first gives them as found, at 0 s."""
        with self._lock:
            rows, self._rows = self._rows, LinkRows()
            return rows

    def stop(self) -> Played:
        """Ends the play; the links are put back, the board is not told."""
        self._stopping.set()
        self._killer.join()
        faults = self._player.stop()
        return Played(self.take_rows(), self._log.events, faults)

    def _told(self, changes: list[AppliedChange]) -> None:
        with self._lock:
            for (at_ns, link, direction, parameters, whole), applied_ns in changes:
                if not self._sends(link, direction):
                    continue
                asked_ns, t_s = at_ns - self._start_ns, (applied_ns - self._start_ns) / 1e9
                self._rows.add(asked_ns / 1e9, t_s, link, direction, parameters)
                self._board.set_link(link, direction, whole or parameters)
                self._log.applied(asked_ns, link, t_s)

    def _kill(self, kills: list[KillEvent]) -> None:
        for kill in kills:
            if self._stopping.wait(max(0.0, kill.at_s - self._now_s())):
                return
            with contextlib.suppress(ProcessLookupError, KeyError):  # killed before
                os.kill(self._edges[kill.node], signal.SIGKILL)
                self._log.killed(kill.at_s, kill.node, self._now_s())

    def _now_s(self) -> float:
        return (time.monotonic_ns() - self._start_ns) / 1e9


class _Allotting:
    """What the board's slots allot of the links: news of it, when there is any."""

    def __init__(self, topology: ResolvedTopology, board: Board, start_ns: int, slot_ns: int) -> None:
        self._topology, self._slots, self._start_ns, self._slot_ns = topology, board.slots, start_ns, slot_ns
        self._told: int | None = None
        self._given_up: int | None = None

    def fresh(self) -> Allotted | None:
        """What was allotted since the last call, from its slot's beginning on; nothing of any link once devices have
        given up the last decision."""
        newest, now_ns = self._slots.newest_slot(), time.monotonic_ns()
        if newest is None or newest == self._given_up:
            return None
        if newest != self._told and (found := self._slots.newest()):
            self._told, postings = found
            return Allotted(
                max(now_ns, self._start_ns + self._told * self._slot_ns), self._directions(postings.values())
            )
        slot = (now_ns - self._start_ns) // self._slot_ns
        if newest <= slot and decided_by(newest, slot) is DecidedBy.GREEDY:
            self._given_up = newest
            return Allotted(now_ns, {})
        return None

    def _directions(self, postings: Iterable[Posting]) -> dict[Direction, Allotment]:
        found = {}
        for one in postings:
            if one.given is not None:
                link = self._topology.links[one.given.link]
                found[(link.a, link.b), int(one.given.direction == "down")] = Allotment(one.share, one.limit_bps)
        return found
