"""The tunnels that carry links between machines, and how packets get from a link's shaping into them and out again.

A link that crosses has, in the namespace of its node here, three interfaces, named after the node's own, eth0:

    going   eth0 -> (shaped, by either backend) -> far-eth0, coming -> in-far-eth0, going: the tunnel
    coming  in-far-eth0 -> eth0, coming: it was shaped where it was sent

The tunnel is VXLAN. Its socket lies in the machine's own namespace and is the only thing there; the kernel ends it with
the tunnel, and the tunnel with the node's namespace.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterable
from typing import NamedTuple

from testbed.network import rtnetlink, shape
from testbed.network.errors import NetworkError
from testbed.network.links import Wire
from testbed.network.namespace import call_in
from testbed.network.offload import take_as_they_come
from testbed.network.part import Crossing
from testbed.network.rtnetlink import KernelRefusalError, Route

PORT = 14789
"""UDP, of all tunnels."""
_PATIENCE_S = 5.0
_STEP_S = 0.02


class Tunnel(NamedTuple):
    """One end of a crossing link: its wire here, and the MAC address of its interface, None for a bridge's port."""

    crossing: Crossing
    wire: Wire
    mac: str | None

    @property
    def side(self) -> int:
        """Which end of the link lies here."""
        return 1 - (self.wire.tunnel or 0)

    @property
    def node(self) -> str:
        """The node whose link it is here."""
        return self.wire.ends[self.side].node

    @property
    def pid(self) -> int:
        """The process that holds the namespace."""
        return self.wire.pids[0]

    @property
    def name(self) -> str:
        """The interface: where what comes from the link's far end is delayed, as for any link."""
        return shape.incoming(self.wire.ends[1 - self.side].name)


def make(tunnels: Iterable[Tunnel]) -> None:
    """Makes tunnels; the wires' own interfaces stand. To be called in the machine's own namespace.

    Raises:
        NetworkError: one could not be made; says why.
    """
    route = Route()
    try:
        for tunnel in tunnels:
            _make(route, tunnel)
            call_in(tunnel.pid, lambda tunnel=tunnel: _lead(tunnel))  # type: ignore[misc]
    finally:
        route.close()


def _make(route: Route, tunnel: Tunnel) -> None:
    crossing, side = tunnel.crossing, tunnel.side
    addresses = (crossing.addresses[side], crossing.addresses[1 - side])
    request = rtnetlink.vxlan(
        tunnel.name, tunnel.pid, crossing.identifier, addresses, PORT, mac=tunnel.mac, mtu=crossing.mtu
    )
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            route.apply([request])
            return
        except KernelRefusalError as error:
            # A testbed taken down a moment ago may have had it: the kernel ends namespaces when it finds the time.
            if error.number == errno.EEXIST and time.monotonic() < until:
                time.sleep(_STEP_S)
                continue
            between = f"from {addresses[0]} to {addresses[1]}"
            raise NetworkError(f"the tunnel {between} for {tunnel.node} cannot be made: {error}") from None


def _lead(tunnel: Tunnel) -> None:
    """Leads packets into a tunnel and out of it, in the calling thread's namespace."""
    far, own = (tunnel.wire.ends[side].name for side in (1 - tunnel.side, tunnel.side))
    index = {name: number for number, name in socket.if_nameindex()}
    route = Route()
    try:
        route.apply(
            [
                rtnetlink.clsact(index[far]),
                rtnetlink.redirect(index[far], rtnetlink.INGRESS, index[tunnel.name]),
                rtnetlink.clsact(index[tunnel.name]),
                rtnetlink.redirect(index[tunnel.name], rtnetlink.INGRESS, index[own], into=True),
            ]
        )
    finally:
        route.close()
    take_as_they_come(tunnel.name)
