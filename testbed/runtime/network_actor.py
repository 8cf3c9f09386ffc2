"""The process that owns the emulated network of one machine, and plays a run's events on it. Ray wraps it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from testbed.documents.fit import impossible
from testbed.documents.resolved import Event, LinkChange, ResolvedTopology
from testbed.network.build import EmulatedNetwork
from testbed.network.certify import batches, certify
from testbed.network.counters import Carried, Direction, carried_at_rest
from testbed.network.ownership import Ownership
from testbed.network.record import LinkRows
from testbed.network.shape import Shaping
from testbed.runtime.board import Board
from testbed.runtime.playing import Played, Playing
from testbed.runtime.run_spec import NodeAddress


class NetworkActor:
    """The emulated network, from `up` to `down`. Ray calls it from several threads at once."""

    def __init__(self, name: str, topology: bytes, shaping: str, board: str) -> None:
        self._topology = msgspec.msgpack.decode(topology, type=ResolvedTopology)
        self._network = EmulatedNetwork.build(self._topology, Shaping(shaping), Ownership.open(name))
        self._board = Board(Path(board), self._topology)
        self._playing: Playing | None = None
        self._publish()

    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def nodes(self) -> dict[str, tuple[int, str]]:
        """Devices and edges: the process that holds each one's namespace, and its address."""
        names = (*self._topology.devices, *self._topology.edges)
        return {name: (self._network.namespace_pid(name), self._network.address(name)) for name in names}

    def certify_batches(self, thorough: bool) -> list[tuple[tuple[int, ...], float]]:
        """The links that are best measured together, by their places in the topology, and about how long that takes."""
        return [(batch.links, batch.seconds) for batch in batches(self._network, thorough=thorough)]

    def certify(self, links: tuple[int, ...], thorough: bool) -> bytes:
        """Measure both directions of some links against what they are set to; JSON, a list of entries."""
        return msgspec.json.encode(certify(self._network, links=links, thorough=thorough))

    def counters(self) -> dict[tuple[str, str, str], tuple[int, int, int]]:
        """For each direction of each link: IP bytes and packets delivered, and packets dropped."""
        return {key: (c.bytes, c.packets, c.dropped) for key, c in self._network.counters().items()}

    def carried(self) -> dict[Direction, Carried]:
        """What each direction of each link has carried, once nothing is on its way any more."""
        return carried_at_rest(self._network)

    def change(self, a: str, b: str, up: bytes, down: bytes) -> str | None:
        """Change some parameters of a link in place; the changes as JSON. Returns why it cannot be so, if it cannot."""
        changes = (msgspec.json.decode(up, type=LinkChange), msgspec.json.decode(down, type=LinkChange))
        both = list(zip(changes, self._network.links()[a, b], strict=True))
        for change, old in both:
            if problem := impossible(change, old):
                return problem
        self._network.set_link(a, b, *(change.applied_to(old) for change, old in both))
        self._publish()
        return None

    def play(self, start_s: float, events: bytes, seed: int, edges: dict[str, int], slot_s: float | None) -> None:
        """Begin to play a run's channels and events from `start_s` on (monotonic clock).

        The links as they are now are what a `restore` goes back to, and what `rewind` puts back.

        Args:
            start_s: the run's start.
            events: msgpack, a list of events.
            seed: of the channels.
            edges: the processes of the edges, for kills.
            slot_s: in a run that is decided by slots, their length.
        """
        self.rewind()
        decoded = msgspec.msgpack.decode(events, type=list[Event])
        self._playing = Playing(self._network, self._board, round(start_s * 1e9), decoded, seed, edges, slot_s)

    def collect(self) -> bytes:
        """The links as set since the last call; msgpack of `LinkRows`."""
        return msgspec.msgpack.encode(self._playing.take_rows() if self._playing else LinkRows())

    def rewind(self) -> bytes:
        """Stop playing and put the links back as the run found them; msgpack of `Played`."""
        playing, self._playing = self._playing, None
        played = playing.stop() if playing else Played()
        self._publish()
        return msgspec.msgpack.encode(played)

    def _publish(self) -> None:
        for link, both in self._network.links().items():
            for direction, parameters in enumerate(both):
                self._board.set_link(link, direction, parameters)


def node_addresses(nodes: dict[str, tuple[int, str]]) -> dict[str, NodeAddress]:
    """`NetworkActor.nodes` as structs."""
    return {name: NodeAddress(*where) for name, where in nodes.items()}
