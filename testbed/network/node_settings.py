"""What the nodes are told: addresses, neighbours and routes by `ip`, and their namespaces' settings of the kernel."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from testbed.documents.resolved import ResolvedTopology
from testbed.network.addressing import PREFIX, Addressing
from testbed.network.errors import NetworkError


def settings(plan: Addressing, topology: ResolvedTopology, mtus: Mapping[int, int]) -> dict[str, list[str]]:
    """The `ip` commands that give each node its addresses, neighbours and routes; `mtus` are the groups'."""
    known = plan.neighbours(frozenset(topology.edges))
    found: dict[str, list[str]] = {name: [] for name in plan.by_node}
    for name, interfaces in plan.by_node.items():
        lines = found[name]
        for interface in interfaces:
            lines += [
                f"link set {interface.name} mtu {mtus[interface.group]} address {interface.mac}",
                f"address add {interface.address}/{PREFIX} broadcast + dev {interface.name} noprefixroute",
                f"link set {interface.name} up",
            ]
        for own, other in known[name]:
            lines.append(f"neighbour replace {other.address} lladdr {other.mac} nud permanent dev {own}")
        lines += _routes(plan, name, topology.congestion_control)
    return found


def _routes(plan: Addressing, node: str, congestion_control: str) -> list[str]:
    """A node's routes, each saying which congestion control TCP uses on it. Where a node has several interfaces in one
    subnet, the first is used unless a socket is bound to the address of another."""
    lines = []
    for number, interface in enumerate(plan.by_node[node]):
        route = f"10.{interface.group}.0.0/{PREFIX} dev {interface.name} src {interface.address}"
        route += f" congctl {congestion_control}"
        lines += [
            f"route add {route} metric {number}",
            f"rule add from {interface.address} table {100 + number}",
            f"route add {route} table {100 + number}",
        ][: 1 if len(plan.by_node[node]) == 1 else 3]
    return lines


def set_kernel(congestion_control: str) -> None:
    """Sets the network namespace of the calling thread; no other is changed.

    Raises:
        NetworkError: the kernel has no such congestion control.
    """
    net = Path("/proc/sys/net")
    with contextlib.suppress(OSError):  # not every kernel lets a namespace have every default: the routes see to it too
        (net / "ipv4/tcp_congestion_control").write_text(congestion_control)
    available = (net / "ipv4/tcp_available_congestion_control").read_text().split()
    if congestion_control not in available:
        raise NetworkError(
            f"this kernel has no congestion control {congestion_control!r}: it has {', '.join(available)}"
            f" (try: modprobe tcp_{congestion_control})"
        )
    (net / "ipv4/tcp_slow_start_after_idle").write_text("0")  # a connection keeps its window while idle
    (net / "ipv4/tcp_no_metrics_save").write_text("1")  # a connection learns nothing from those before it
    for which in ("all", "default"):
        (net / f"ipv4/conf/{which}/rp_filter").write_text("0")
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6 has nothing to disable
            (net / f"ipv6/conf/{which}/disable_ipv6").write_text("1")
