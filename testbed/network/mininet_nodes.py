"""Mininet's hosts and bridges, made so that they are owned and that nothing outside their namespaces is touched."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from subprocess import Popen
from typing import Any

from mininet.link import Intf, Link
from mininet.net import Mininet
from mininet.node import Host, Node
from mininet.nodelib import LinuxBridge

from testbed.network.addressing import Addressing
from testbed.network.ownership import Ownership


class OwnedHost(Host):
    """A Mininet host whose processes are journalled and in the testbed's cgroup before they do anything."""

    def _popen(self, cmd: list[str], **params: Any) -> Popen[bytes]:
        ownership: Ownership = self.params["ownership"]
        return ownership.popen(cmd, name=f"mininet {self.name}", **params)


class OwnedBridge(LinuxBridge):
    """A Mininet bridge in a namespace of its own, with which its interfaces go; the builder sets them up."""

    _popen = OwnedHost._popen

    @classmethod
    def setup(cls) -> None:
        """Nothing: Mininet would warn of the machine's bridge filters, which do not reach into these namespaces."""

    def start(self, _controllers: list[object]) -> None:
        """Nothing: the builder has set the bridge up."""

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803 - Mininet's word
        """Ends the shell, and with it the namespace."""
        self.terminate()


class ReadyInterface(Intf):
    """An interface that the builder sets up; Mininet only knows of it."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing is left to configure."""
        return {}


class ReadyLink(Link):
    """A link that the builder makes; Mininet only knows of it."""

    def __init__(self, node1: Node, node2: Node, intfName1: str, intfName2: str, **_params: Any) -> None:  # noqa: N803
        self.intf1 = ReadyInterface(intfName1, node=node1, link=self, moveIntfFn=self._ignore)
        self.intf2 = ReadyInterface(intfName2, node=node2, link=self, moveIntfFn=self._ignore)

    def stop(self) -> None:
        """Nothing: the interfaces go with the namespaces."""


def start_nodes(addressing: Addressing, ownership: Ownership) -> Mininet:
    """Starts every node's namespace, with the shell by which Mininet holds it, and tells Mininet of the links."""
    Mininet.inited = True  # its own initialisation would raise limits of the whole machine
    net = Mininet(controller=None, build=False, switch=OwnedBridge, host=OwnedHost, link=ReadyLink)
    ownership.record_all({"kind": "namespace", "node": name} for name in addressing.by_node)

    def start(number: int, name: str) -> None:
        if name in addressing.groups:
            net.addSwitch(name, inNamespace=True, dpid=f"{number:x}", ownership=ownership)
        else:
            net.addHost(name, ip=None, ownership=ownership)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # most of a node's start is waiting for its shell
        list(pool.map(start, itertools.count(1), addressing.by_node))
    for (a, b), (end_a, end_b) in addressing.ends.items():
        net.addLink(a, b, intfName1=end_a.name, intfName2=end_b.name)
    for name, interfaces in addressing.by_node.items():
        for interface in interfaces:
            if known := net[name].nameToIntf.get(interface.name):
                known.ip, known.prefixLen, known.mac = interface.address, "16", interface.mac
    net.built = True
    return net
