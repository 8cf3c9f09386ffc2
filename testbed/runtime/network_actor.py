"""The process that owns the emulated network of one machine, and plays a run's events on it. Ray wraps it."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import psutil

from testbed.cluster import clocks
from testbed.cluster.clocks import Offset
from testbed.documents.fit import impossible
from testbed.documents.resolved import Event, LinkChange, ResolvedTopology
from testbed.network import underlay
from testbed.network.build import EmulatedNetwork
from testbed.network.certify import batches, certify
from testbed.network.certify_parts import Round, probe_part
from testbed.network.counters import Counted, counted_at_rest
from testbed.network.ownership import Ownership
from testbed.network.part import Part, whole
from testbed.network.record import LinkRows
from testbed.network.shape import Shaping
from testbed.runtime import payload_store
from testbed.runtime.board import Board
from testbed.runtime.cpu import CpuMeter
from testbed.runtime.mirror import Mirror, hear
from testbed.runtime.playing import Played, Playing
from testbed.runtime.run_spec import NodeAddress
from testbed.runtime.slot_board import Posting


class NetworkActor:
    """The emulated network of one machine, from `up` to `down`. Ray calls it from several threads at once."""

    def __init__(self, name: str, topology: bytes) -> None:
        self._topology = msgspec.msgpack.decode(topology, type=ResolvedTopology)
        self._ownership = Ownership.open(name)
        self._machine = self._ownership.machine
        self._path = self._ownership.folder / "board"
        self._ownership.record("file", path=str(self._path))
        self._board = Board(self._path, self._topology)
        self._part = whole(self._topology, self._machine)
        self._playing: Playing | None = None
        self._meter, self._cpu_busy = CpuMeter(), list[float]()
        self._responder: underlay.Responder | None = None
        self._clock: clocks.Responder | None = None
        self._ahead_s: dict[str, float] = {}
        self._peers: dict[str, Any] = {}
        self._mirrors: list[Mirror] = []

    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def board(self) -> str:
        """Where this machine's board lies."""
        return str(self._path)

    def build(self, shaping: str, part: bytes | None = None) -> None:
        """Build what lies on this machine; all, if nothing is given. `part` is msgpack.

        Raises:
            NetworkError: it cannot be built.
        """
        if part is not None:
            self._part = msgspec.msgpack.decode(part, type=Part)
        self._network = EmulatedNetwork.build(self._topology, Shaping(shaping), self._ownership, part=self._part)
        for link in self._topology.links:
            for direction, parameters in enumerate((link.up, link.down)):
                self._board.set_link((link.a, link.b), direction, parameters)

    # Among other machines.

    def answer(self, address: str, clock_port: int) -> int:
        """Answer, at an address on the management network, those who ask for the time, from now on."""
        self._clock = self._clock or clocks.Responder(address, clock_port)
        return self._clock.port

    def answer_underlay(self, address: str) -> int:
        """Answer those who measure the network to this machine, until it is built; returns the port."""
        self._responder = underlay.Responder(address)
        return self._responder.port

    def measure_underlay(self, own: str, other: str, port: int) -> bytes:
        """Measure the network to where another machine answers; msgpack of `Underlay`."""
        return msgspec.msgpack.encode(underlay.measure(own, other, port))

    def end_underlay(self) -> None:
        """Answer those who measure no more."""
        if self._responder:
            self._responder.close()
            self._responder = None

    def meet(self, peers: Mapping[str, Any]) -> None:
        """Know the actors of this class on the other machines, by the machines' names."""
        self._peers = dict(peers)

    def compare(self, offsets: bytes) -> None:
        """Take how far the other machines' clocks are ahead of this one's; msgpack, by machine."""
        told = msgspec.msgpack.decode(offsets, type=dict[str, Offset])
        self._ahead_s = {name: offset.offset_s for name, offset in told.items()}

    def hear(self, machine: str, news: bytes) -> None:
        """Take what is written on another machine's board."""
        hear(self._board, news, self._ahead_s.get(machine, 0.0))

    def clear_slots(self) -> None:
        """Forget the slots of an earlier run."""
        self._board.slots.clear()

    def post(self, slot: int, postings: bytes) -> None:
        """Take a slot that was decided on another machine; msgpack of postings by device."""
        self._board.slots.post(slot, msgspec.msgpack.decode(postings, type=dict[str, Posting]))

    def keep_payloads(self, folder: str, parts: Mapping[str, bytes] | None = None) -> tuple[str, list[str]]:
        """Add parts to one of this machine's payload stores; where it lies, and the parts that it has."""
        return payload_store.keep(folder, parts or {})

    def facts(self) -> dict[str, Any]:
        """What a manifest tells of the machine; JSON values."""
        return {
            "kernel": platform.release(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "load_average": os.getloadavg(),
        }

    def cpu_s(self) -> float:
        """CPU seconds that the testbed's processes on this machine have used, but for this one, which looks."""
        total_s = 0.0
        for process in (one for one in self._ownership.processes() if one.pid != os.getpid()):
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(process.pid).cpu_times()
                total_s += times.user + times.system
        return total_s

    # What it holds.

    def nodes(self) -> dict[str, tuple[int, str]]:
        """This machine's devices and edges: the process that holds each one's namespace, and its address."""
        names = filter(self._part.here, (*self._topology.devices, *self._topology.edges))
        return {name: (self._network.namespace_pid(name), self._network.address(name)) for name in names}

    def certify_batches(self, thorough: bool) -> list[tuple[tuple[int, ...], float]]:
        """The links that are best measured together, by their places in the topology, and about how long that takes."""
        return [(batch.links, batch.seconds) for batch in batches(self._network, thorough=thorough)]

    def certify(self, links: tuple[int, ...], thorough: bool) -> bytes:
        """Measure both directions of some links against what they are set to; JSON, a list of entries."""
        return msgspec.json.encode(certify(self._network, links=links, thorough=thorough))

    def certify_part(self, asked: bytes, begin_ns: int) -> bytes:
        """Do this machine's part of a round, msgpack of `Round`, from an instant of its monotonic clock on."""
        return probe_part(self._network, msgspec.msgpack.decode(asked, type=Round), begin_ns)

    def part(self) -> bytes:
        """What lies on this machine; msgpack."""
        return msgspec.msgpack.encode(self._part)

    def links(self) -> bytes:
        """All links as they are set now; msgpack, by link."""
        return msgspec.msgpack.encode(self._network.links())

    def counters(self) -> dict[tuple[str, str, str], tuple[int, int, int]]:
        """For each direction of each link: IP bytes and packets delivered, and packets dropped."""
        return {key: (c.bytes, c.packets, c.dropped) for key, c in self._network.counters().items()}

    def counted(self) -> Counted:
        """What has been carried, and has arrived from other machines, once nothing is on its way any more."""
        return counted_at_rest(self._network)

    def change(self, a: str, b: str, up: bytes, down: bytes) -> str | None:
        """Change some parameters of a link in place; the changes as JSON. Returns why it cannot be so, if it cannot."""
        changes = (msgspec.json.decode(up, type=LinkChange), msgspec.json.decode(down, type=LinkChange))
        both = list(zip(changes, self._network.links()[a, b], strict=True))
        for direction, (change, old) in enumerate(both):
            if problem := impossible(change, old) or self._network.fault((a, b), direction, change.applied_to(old)):
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
        self._mirror()
        self._meter, self._cpu_busy = CpuMeter(), []

    def collect(self) -> bytes:
        """The links as set since the last call; msgpack of `LinkRows`. Notes how busy the CPUs were meanwhile."""
        self._cpu_busy.append(self._meter.busy())
        return msgspec.msgpack.encode(self._playing.take_rows() if self._playing else LinkRows())

    def rewind(self) -> bytes:
        """Stop playing and put the links back as the run found them; msgpack of `Played`."""
        playing, self._playing = self._playing, None
        self._end_mirrors()
        played = playing.stop() if playing else Played()
        played.cpu_busy = self._cpu_busy
        self._publish()
        return msgspec.msgpack.encode(played)

    def _publish(self) -> None:
        """Tell the directions that begin on this machine as they are set."""
        for link, both in self._network.links().items():
            for direction, parameters in enumerate(both):
                if self._network.sends(link, direction):
                    self._board.set_link(link, direction, parameters)

    def _mirror(self) -> None:
        """Begin to tell the other machines' boards what is written on this one's."""
        nodes = {node for node, machine in self._part.placement.items() if machine == self._machine}
        words = self._board.written_by(nodes)
        self._mirrors = [Mirror(self._board, words, partial(self._tell, peer)) for peer in self._peers.values()]

    def _tell(self, peer: Any, news: bytes) -> None:
        import ray

        ray.get(peer.hear.remote(self._machine, news))

    def _end_mirrors(self) -> None:
        for mirror in self._mirrors:
            mirror.stop()
        self._mirrors = []


def node_addresses(nodes: dict[str, tuple[int, str]]) -> dict[str, NodeAddress]:
    """`NetworkActor.nodes` as structs."""
    return {name: NodeAddress(*where) for name, where in nodes.items()}
