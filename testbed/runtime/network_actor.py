"""The process that owns the emulated network of one machine, and plays a run's events on it. Ray wraps it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import msgspec

from testbed.documents.resolved import KillEvent, LinkChange, LinkEvent, LinkParameters, ResolvedTopology
from testbed.network.build import EmulatedNetwork
from testbed.network.certify import certify
from testbed.network.ownership import Ownership
from testbed.network.shape import Shaping
from testbed.runtime.board import Board
from testbed.runtime.paths import Direction
from testbed.runtime.run_spec import NodeAddress

Pair = tuple[str, str]
Event = LinkEvent | KillEvent

_DIRECTIONS: tuple[Direction, Direction] = ("up", "down")


class Applied(msgspec.Struct, frozen=True):
    """One direction of a link, as it was set at an instant: a row of `links.parquet`."""

    t_s: float  # from the run's start
    a: str
    b: str
    direction: Direction
    parameters: LinkParameters


class NetworkActor:
    """The emulated network, from `up` to `down`. Ray calls it from several threads at once."""

    def __init__(self, name: str, topology: bytes, shaping: str, board: str) -> None:
        self._topology = msgspec.msgpack.decode(topology, type=ResolvedTopology)
        self._network = EmulatedNetwork.build(self._topology, Shaping(shaping), Ownership.open(name))
        self._board = Board(Path(board), self._topology)
        self._index = {(link.a, link.b): index for index, link in enumerate(self._topology.links)}
        self._changing = threading.Lock()
        self._found: dict[Pair, tuple[LinkParameters, LinkParameters]] = {}
        self._applied: list[Applied] = []
        self._stop_playing = threading.Event()
        self._player: threading.Thread | None = None
        for pair, (up, down) in self._network.links().items():
            self._publish(pair, up, down)

    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def nodes(self) -> dict[str, tuple[int, str]]:
        """Devices and edges: the process that holds each one's namespace, and its address."""
        names = (*self._topology.devices, *self._topology.edges)
        return {name: (self._network.namespace_pid(name), self._network.address(name)) for name in names}

    def certify(self) -> bytes:
        """Measure every direction of every link against what it is set to; JSON, a list of entries."""
        return msgspec.json.encode(certify(self._network))

    def counters(self) -> dict[tuple[str, str, str], tuple[int, int, int]]:
        """For each direction of each link: IP bytes and packets delivered, and packets dropped."""
        return {key: (c.bytes, c.packets, c.dropped) for key, c in self._network.counters().items()}

    def change(self, a: str, b: str, up: bytes, down: bytes) -> None:
        """Change some parameters of a link in place; the changes as JSON."""
        changes = (msgspec.json.decode(up, type=LinkChange), msgspec.json.decode(down, type=LinkChange))
        self._change((a, b), *changes)

    def play(self, start_s: float, events: bytes, edges: dict[str, int]) -> None:
        """Begin to play a run's events from `start_s` on (monotonic clock); `edges` gives the processes for kills.

        The links as they are now are what a `restore` goes back to, and what `rewind` puts back.
        """
        self.rewind()
        self._found = self._network.links()
        self._applied = [
            Applied(0.0, *pair, direction, parameters)
            for pair, directions in self._found.items()
            for direction, parameters in zip(_DIRECTIONS, directions, strict=True)
        ]
        todo = sorted(msgspec.json.decode(events, type=list[Event]), key=lambda event: event.at_s)
        self._stop_playing.clear()
        self._player = threading.Thread(target=self._play, args=(start_s, todo, edges), daemon=True)
        self._player.start()

    def rewind(self) -> bytes:
        """Stop playing and put the links back as the run found them; the channel as applied, JSON."""
        self._stop_playing.set()
        if self._player:
            self._player.join()
            self._player = None
        for pair, (up, down) in self._found.items():
            if self._network.links()[pair] != (up, down):
                self._set(pair, up, down)
        self._found = {}
        applied, self._applied = self._applied, []
        return msgspec.json.encode(applied)

    def _play(self, start_s: float, events: list[Event], edges: dict[str, int]) -> None:
        for event in events:
            if self._stop_playing.wait(max(0.0, start_s + event.at_s - time.monotonic())):
                return
            if isinstance(event, KillEvent):
                with contextlib.suppress(ProcessLookupError, KeyError):
                    os.kill(edges[event.node], signal.SIGKILL)
                continue
            for pair in event.links:
                if event.restore:
                    up, down = self._found[pair]
                    self._set(pair, up, down)
                else:
                    up, down = self._change(pair, event.up or LinkChange(), event.down or LinkChange())
                t_s = time.monotonic() - start_s
                self._applied += [Applied(t_s, *pair, "up", up), Applied(t_s, *pair, "down", down)]

    def _change(self, pair: Pair, up: LinkChange, down: LinkChange) -> tuple[LinkParameters, LinkParameters]:
        with self._changing:
            old_up, old_down = self._network.links()[pair]
            new = up.applied_to(old_up), down.applied_to(old_down)
            self._network.set_link(*pair, *new)
            self._publish(pair, *new)
            return new

    def _set(self, pair: Pair, up: LinkParameters, down: LinkParameters) -> None:
        with self._changing:
            self._network.set_link(*pair, up, down)
            self._publish(pair, up, down)

    def _publish(self, pair: Pair, up: LinkParameters, down: LinkParameters) -> None:
        self._board.set_link(self._index[pair], "up", up)
        self._board.set_link(self._index[pair], "down", down)


def node_addresses(nodes: dict[str, tuple[int, str]]) -> dict[str, NodeAddress]:
    """`NetworkActor.nodes` as structs."""
    return {name: NodeAddress(*where) for name, where in nodes.items()}
