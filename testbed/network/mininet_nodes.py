"""Mininet's hosts and bridges, made so that they are owned and that nothing outside their namespaces is touched."""

from __future__ import annotations

from collections.abc import Mapping
from subprocess import Popen
from typing import Any

from mininet.link import Intf, Link
from mininet.net import Mininet
from mininet.node import Host, Node
from mininet.nodelib import LinuxBridge

from testbed.network.addressing import Addressing
from testbed.network.ownership import Ownership
from testbed.network.processes import Process


class OwnedHost(Host):
    """A Mininet host in a namespace that stands already.

    Its processes are journalled and in the testbed's cgroup before they do anything. Mininet's shell starts with the
    first command.
    """

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802 - Mininet's word
        """Notes who holds the namespace; of that Mininet makes its own commands' way in."""
        self.pid = self.params["holder"].pid

    def _shell(self) -> None:
        if self.shell is None and self.pid is not None:
            holder, self.inNamespace = self.pid, False  # else the shell would be given a namespace of its own
            super().startShell()
            self.pid, self.inNamespace = holder, True

    def cmd(self, *args: Any, **options: Any) -> str | None:
        """Mininet's `cmd`: what a command says, once it has ended."""
        self._shell()
        said: str | None = super().cmd(*args, **options)
        return said

    def sendCmd(self, *args: Any, **options: Any) -> None:  # noqa: N802 - Mininet's word
        """Mininet's `sendCmd`: begins a command."""
        self._shell()
        super().sendCmd(*args, **options)

    def terminate(self) -> None:
        """Ends the shell, if there is one; the namespace goes with its holder."""
        super().terminate()
        self.pid = None

    def _popen(self, cmd: list[str], **params: Any) -> Popen[bytes]:
        ownership: Ownership = self.params["ownership"]
        return ownership.popen(cmd, name=f"mininet {self.name}", in_pid_netns=self.params["holder"].pid, **params)


class OwnedBridge(OwnedHost, LinuxBridge):
    """A Mininet switch in a namespace that stands already, with which its interfaces go; the builder sets them up."""

    @classmethod
    def setup(cls) -> None:
        """Nothing: Mininet would warn of the machine's bridge filters, which do not reach into these namespaces."""

    def start(self, _controllers: list[object]) -> None:
        """Nothing: the builder has set the bridge up."""

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803 - Mininet's word
        """Ends the shell; the interfaces go with the namespace."""
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


def mininet(addressing: Addressing, holders: Mapping[str, Process], ownership: Ownership) -> Mininet:
    """Tells Mininet of the nodes, whose namespaces stand, and of the links between them."""
    Mininet.inited = True  # its own initialisation would raise limits of the whole machine
    net = Mininet(controller=None, build=False, switch=OwnedBridge, host=OwnedHost, link=ReadyLink)
    for number, name in enumerate(addressing.by_node, start=1):
        if name not in holders:
            continue
        about = {"ownership": ownership, "holder": holders[name]}
        if name in addressing.groups:
            net.addSwitch(name, inNamespace=True, dpid=f"{number:x}", **about)
        else:
            net.addHost(name, ip=None, **about)
    for (a, b), (end_a, end_b) in addressing.ends.items():
        if a not in holders or b not in holders:
            continue
        net.addLink(a, b, intfName1=end_a.name, intfName2=end_b.name)
    for name in holders:
        for interface in addressing.by_node[name]:
            if known := net[name].nameToIntf.get(interface.name):
                known.ip, known.prefixLen, known.mac = interface.address, "16", interface.mac
    net.built = True
    return net
