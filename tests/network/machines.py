"""Lab machines as namespaces on a bridge: enough of them for what the network does between machines."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from testbed.documents.resolved import ResolvedTopology
from testbed.network.build import EmulatedNetwork
from testbed.network.namespace import call_in
from testbed.network.ownership import RUN_FOLDER, Ownership
from testbed.network.part import Part, pairs, parts
from testbed.network.shape import Shaping
from testbed.network.underlay import Responder, Underlay, measure

T = TypeVar("T")


class LabMachine(NamedTuple):
    """A namespace: the process that holds it, and its address."""

    name: str
    pid: int
    address: str

    def do(self, function: Callable[[], T]) -> T:
        """Calls a function on this machine."""
        return call_in(self.pid, function)

    def run(self, *command: str) -> str:
        """Runs a command on this machine; what it says."""
        argv = ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def lab(count: int, mtu: int = 1500) -> Iterator[list[LabMachine]]:
    """Machines lab1, lab2, ... at 10.9.0.1, 10.9.0.2, ... on a bridge in a namespace of its own."""
    with contextlib.ExitStack() as stack:

        def holder() -> int:
            child = stack.enter_context(subprocess.Popen(["unshare", "--net", "sleep", "3600"]))
            stack.callback(child.kill)
            mine = Path("/proc/self/ns/net").readlink()
            while Path(f"/proc/{child.pid}/ns/net").readlink() == mine:
                time.sleep(0.001)
            return child.pid

        switch = LabMachine("switch", holder(), "")
        switch.run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        switch.run("ip", "link", "set", "br0", "up")
        machines = [LabMachine(f"lab{number}", holder(), f"10.9.0.{number}") for number in range(1, count + 1)]
        for machine in machines:
            port = f"to-{machine.name}"
            peer = ["peer", "name", "eth0", "netns", str(machine.pid)]
            switch.run("ip", "link", "add", port, "mtu", str(mtu), "type", "veth", *peer)
            switch.run("ip", "link", "set", port, "master", "br0", "up")
            machine.run("ip", "link", "set", "lo", "up")
            machine.run("ip", "link", "set", "eth0", "mtu", str(mtu), "up")
            machine.run("ip", "address", "add", f"{machine.address}/24", "dev", "eth0")
        while "state forwarding" not in switch.run("bridge", "link", "show"):
            time.sleep(0.005)
        yield machines


def measured(first: LabMachine, second: LabMachine) -> Underlay:
    """What the network gives between two machines."""
    responder = second.do(lambda: Responder(second.address))
    try:
        return first.do(lambda: measure(first.address, second.address, responder.port))
    finally:
        responder.close()


def split(
    topology: ResolvedTopology,
    placement: dict[str, str],
    machines: Sequence[LabMachine],
    underlay: Underlay | None = None,
) -> dict[str, Part]:
    """The machines' parts, over what the network between them gives, or is said to give."""
    by_name = {machine.name: machine for machine in machines}
    underlays = {pair: underlay or measured(*(by_name[name] for name in pair)) for pair in pairs(topology, placement)}
    return parts(topology, placement, {machine.name: machine.address for machine in machines}, underlays)


@contextlib.contextmanager
def spread(
    name: str, topology: ResolvedTopology, parts: dict[str, Part], machines: Sequence[LabMachine], shaping: Shaping
) -> Iterator[dict[str, EmulatedNetwork]]:
    """A testbed over several machines, each part built on its own; afterwards nothing of it is left."""
    networks: dict[str, EmulatedNetwork] = {}
    with contextlib.ExitStack() as stack:
        for machine in machines:
            if machine.name in parts:
                ownership = Ownership.create(name, machine.name)
                stack.callback(machine.do, partial(undone, ownership))

                def build(ownership: Ownership = ownership) -> EmulatedNetwork:
                    return EmulatedNetwork.build(topology, shaping, ownership, part=parts[ownership.machine])

                networks[machine.name] = machine.do(build)
                stack.callback(networks[machine.name].stop)
        yield networks


def undone(ownership: Ownership) -> None:
    """Undoes one machine's part."""
    assert ownership.undo().failures == []
    assert not (RUN_FOLDER / ownership.name / ownership.machine).exists()
    assert ownership.group is None or not ownership.group.exists()
