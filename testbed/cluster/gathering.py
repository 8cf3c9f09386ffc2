"""The machines of a testbed, from the driver's: that they can take part is found out before anything is started, and
they join its Ray once it has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.cluster.placement import here, used
from testbed.cluster.ports import Ports, chosen, free_blocks
from testbed.cluster.ray_head import RayHead
from testbed.cluster.ray_node import LOOPBACK
from testbed.cluster.raylet import Order, Wanted
from testbed.cluster.undo import record
from testbed.documents.resolved import ResolvedTopology
from testbed.network.ownership import Ownership
from testbed.network.shape import Shaping

if TYPE_CHECKING:
    from testbed.cluster.facts import Facts
    from testbed.cluster.ssh import Remote

_START_TIMEOUT_S = 120.0


class Gathering:
    """This machine and, where there are several, the others that take part."""

    def __init__(self, topology: ResolvedTopology, remotes: Mapping[str, Remote], ports: Ports | None) -> None:
        addresses = {machine.name: machine.address for machine in topology.machines}
        self.machine = here(topology)
        self.address = addresses.get(self.machine, LOOPBACK)
        self.ports = ports
        self._name, self._remotes = topology.name, remotes

    def record(self, ownership: Ownership) -> None:
        """Write down that the others have a part of the testbed, before they do."""
        record(ownership, [remote.machine for remote in self._remotes.values()])

    def join(self, head: RayHead) -> None:
        """Let the others join a head.

        Raises:
            MachinesError: some could not; a line for each.
        """
        if not self._remotes or self.ports is None:
            return
        from testbed.cluster.ssh import in_parallel, required

        token, given = Path(head.token_path).read_text(), self.ports

        def begin(remote: Remote) -> int:
            machine = remote.machine
            order = Order(self._name, machine.name, machine.address, head.address, token, given)
            return remote.call("raylet", order, int, _START_TIMEOUT_S)

        with ThreadPoolExecutor(1) as pool:  # whatever interrupts: what is undone must have begun
            required(pool.submit(in_parallel, begin, self._remotes).result())


@contextlib.contextmanager
def gathered(topology: ResolvedTopology, shaping: Shaping) -> Iterator[Gathering]:
    """The machines of a topology, connected for the time of the block; nothing is started on them.

    Raises:
        MachinesError: some cannot be reached, have another version, or lack something; a line for each.
        RefusedError: this machine is none of them, or no ports are free on all.
    """
    machine = here(topology)
    others = [one for one in topology.machines if one.name in used(topology) and one.name != machine]
    if not topology.machines:
        yield Gathering(topology, {}, None)
        return
    from testbed.cluster.facts import Asked, Facts, software
    from testbed.cluster.ssh import FailedError, all_connected, in_parallel, required

    mine = software()

    def look(remote: Remote) -> Facts:
        theirs = remote.call("facts", Asked(remote.machine.address, remote.machine.tunnel_address), Facts)
        if fault := theirs.software.fault_beside(mine, machine):
            raise FailedError(remote.machine, f"{fault.detail}: {fault.remedy}")
        remote.call("require", Wanted(topology, shaping.value), type(None))
        return theirs

    with all_connected(others) as remotes:
        found = required(in_parallel(look, remotes))
        own = next(one for one in topology.machines if one.name == machine)
        free = {machine: free_blocks(own.address), **{name: one.free_blocks for name, one in found.items()}}
        yield Gathering(topology, remotes, chosen(topology.name, free))
