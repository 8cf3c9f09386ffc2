"""The interfaces of one machine's part of a topology: made and configured, those of the links first."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from testbed.documents.resolved import ResolvedTopology
from testbed.network import tunnels
from testbed.network.addressing import Addressing
from testbed.network.batch import run_batch
from testbed.network.links import Backend, Wire
from testbed.network.namespace import call_in
from testbed.network.node_settings import set_kernel, settings
from testbed.network.offload import finish_before_sending
from testbed.network.ownership import Ownership
from testbed.network.part import Part
from testbed.network.switches import LinuxBridge, OpenVSwitch, Switch
from testbed.network.tunnels import Tunnel


class Interfaces(NamedTuple):
    """What interfaces are made of: the nodes here by the processes that hold their namespaces, and the links here."""

    topology: ResolvedTopology
    plan: Addressing
    part: Part
    pids: Mapping[str, int]
    wires: Mapping[tuple[str, str], Wire]
    backend: Backend
    ownership: Ownership

    def set_up(self) -> None:
        """Makes and configures every interface: those of the links, then the tunnels and switches, then all else.

        Raises:
            NetworkError: something could not be made; says what and why.
        """
        plan, pids = self.plan, self.pids
        mtus = self.part.mtus(self.topology, plan)
        switch = OpenVSwitch if self.topology.switch == "ovs" else LinuxBridge
        ports: dict[str, list[str]] = {name: [] for name in plan.groups if name in pids}
        for end in itertools.chain(*plan.ends.values()):
            if end.node in ports:
                ports[end.node].append(end.name)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._set_kernel, pids))
            first, then = self._making()
            list(pool.map(self._configure, first, first.values()))
            tunnels.make(self._tunnels())
            switches: dict[str, Switch] = {name: switch(self.ownership, name, pids[name]) for name in ports}

            def making(name: str) -> list[str]:
                (bridge,) = plan.by_node[name]
                return switches[name].making(ports[name], bridge.mac, mtus[bridge.group])

            for name, commands in zip(switches, pool.map(making, switches), strict=True):
                then[pids[name]] += commands
            for name, commands in settings(plan, self.topology, mtus).items():
                if name in pids:
                    then[pids[name]] += commands
            list(pool.map(self._configure, then, then.values()))
            list(pool.map(lambda name: switches[name].lead(plan.ports[name]), switches))
        if not all(one.kernel for one in switches.values()):
            for wire in self.wires.values():
                for end, pid in zip(wire.ends, wire.pids, strict=True):
                    call_in(pid, lambda name=end.name: finish_before_sending(name))  # type: ignore[misc]

    def _making(self) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
        """The `ip` commands that make the links' interfaces in each node, by the process that holds its namespace:
        those of the links' second ends, which make both, and then those of the first."""
        second: dict[int, list[str]] = {}
        first: dict[int, list[str]] = {pid: ["link set lo up"] for pid in self.pids.values()}
        for wire in self.wires.values():
            near, far = self.backend.making(wire)
            first[wire.pids[0]] += near
            second.setdefault(wire.pids[1], []).extend(far)
            if wire.tunnel is not None:
                first[wire.pids[0]].append(f"link set {wire.ends[wire.tunnel].name} up")
        return second, first

    def _tunnels(self) -> list[Tunnel]:
        """Those that end here."""
        macs = {(one.node, one.name): one.mac for one in self.plan.interfaces}
        found = []
        for crossing in self.part.crossings:
            link = self.topology.links[crossing.link]
            if wire := self.wires.get((link.a, link.b)):
                own = wire.ends[wire.directions[0]]
                found.append(Tunnel(crossing, wire, macs.get((own.node, own.name))))
        self.ownership.record_all({"kind": "interface", "node": one.node, "name": one.name} for one in found)
        if found:
            self.ownership.record("tunnels", port=tunnels.PORT)
        return found

    def _set_kernel(self, node: str) -> None:
        call_in(self.pids[node], lambda: set_kernel(self.topology.congestion_control))

    def _configure(self, pid: int, commands: list[str]) -> None:
        run_batch(self.ownership, pid, "ip", commands)
