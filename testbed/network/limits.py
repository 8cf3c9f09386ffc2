"""Nodes' limits: what a node's processes may use of this machine, held by cgroups of the testbed's own.

The groups lie beside the testbed's own group and not in it, for in version 2 a group that hands a controller down holds
no processes. Where the machine hands a controller down to nobody, that is left as it is, and the limit is refused.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from testbed.documents.resolved import Limits, ResolvedTopology
from testbed.network import cgroup
from testbed.network.errors import RefusedError
from testbed.network.ownership import Ownership

VERSION_2 = cgroup.HIERARCHIES[:2]
VERSION_1 = {"memory": ("memory",), "cpu": ("cpu", "cpu,cpuacct")}
"""Where version 1 has its controllers, in the folder of all hierarchies."""
_PERIOD_US = 20_000  # short, that a node which has used its share does not stand still for long
_LEAST_QUOTA_US = 1_000
_OF_SWAP = ("memory.swap.max", "memory.memsw.limit_in_bytes")
"""There only where the kernel accounts for it."""


class LimitedGroup(NamedTuple):
    """The groups that hold a node's limits; none if it has no limits."""

    paths: tuple[Path, ...]

    def enter(self, pid: int) -> None:
        """Holds a process and its children to come to the limits; what memory it has by now is not counted.

        Raises:
            OSError: there is no such process.
        """
        for path in self.paths:
            cgroup.enter(path, pid)


def check_limits(topology: ResolvedTopology) -> None:
    """Goes on if this machine can hold every limit of a topology.

    Raises:
        RefusedError: it cannot; says which controller is missing.
    """
    for name, node in (topology.edges | topology.devices).items():
        for controller in _needed(node.limits):
            if home_of(controller) is None:
                raise RefusedError(f"the limits of {name} cannot be held: {_missing(controller)}")


def limited_group(ownership: Ownership, topology: ResolvedTopology, node: str) -> LimitedGroup:
    """The group in which a node's processes belong; written to the journal and made, where it does not stand.

    Raises:
        RefusedError: this machine cannot hold the limits.
        OSError: the group could not be made.
    """
    found = topology.edges.get(node) or topology.devices.get(node)
    limits = found.limits if found else Limits()
    homes = {controller: home_of(controller) for controller in _needed(limits)}
    if missing := next((controller for controller, home in homes.items() if home is None), None):
        raise RefusedError(f"the limits of {node} cannot be held: {_missing(missing)}")
    paths = []
    for home in dict.fromkeys(home for home in homes.values() if home is not None):
        mine = [controller for controller in homes if homes[controller] == home]
        above = home / f"{ownership.label}:limits"
        group = above / f"node-{node}"
        if not group.is_dir():
            ownership.record_all({"kind": "cgroup", "path": str(path)} for path in (above, group))
            above.mkdir(exist_ok=True)
            if home in VERSION_2:
                (above / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in mine))
            group.mkdir(exist_ok=True)
        for name, value in _settings(limits, mine, version_2=home in VERSION_2):
            if name not in _OF_SWAP or (group / name).exists():
                (group / name).write_text(value)
        paths.append(group)
    return LimitedGroup(tuple(paths))


def enter_limits(topology: ResolvedTopology, node: str) -> None:
    """Holds the calling process to the limits of a node of a testbed that is up, if it has any; raises as
    `limited_group` does."""
    if (found := topology.edges.get(node) or topology.devices.get(node)) and found.limits != Limits():
        limited_group(Ownership.open(topology.name), topology, node).enter(os.getpid())


def _needed(limits: Limits) -> list[str]:
    return [
        controller for controller, value in (("memory", limits.memory_bytes), ("cpu", limits.cpus)) if value is not None
    ]


def home_of(controller: str) -> Path | None:
    """The folder in which groups with a controller (memory, cpu) can be made; None where it is missing."""
    for hierarchy in VERSION_2:
        handed_down = hierarchy / "cgroup.subtree_control"
        if handed_down.exists() and controller in handed_down.read_text().split() and os.access(hierarchy, os.W_OK):
            return hierarchy
    for name in VERSION_1[controller]:
        hierarchy = VERSION_2[0] / name
        if (hierarchy / "cgroup.procs").exists() and os.access(hierarchy, os.W_OK):
            return hierarchy
    return None


def remedy_for(controller: str) -> str:
    """How a missing controller may be had."""
    for hierarchy in VERSION_2:
        offered = hierarchy / "cgroup.controllers"
        if offered.exists() and controller in offered.read_text().split():
            return f"echo +{controller} > {hierarchy}/cgroup.subtree_control"
    return f"start the kernel with it (cgroup_enable={controller})"


def _missing(controller: str) -> str:
    return f"the {controller} controller of cgroups is missing here ({remedy_for(controller)})"


def _settings(limits: Limits, controllers: list[str], *, version_2: bool) -> list[tuple[str, str]]:
    """The files of a group, and what is to be written to each, in that order."""
    settings = []
    if "memory" in controllers:
        memory = str(limits.memory_bytes)
        if version_2:
            settings += [("memory.max", memory), ("memory.swap.max", "0")]
        else:
            settings += [("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory)]
    if "cpu" in controllers and limits.cpus is not None:
        period_us = max(_PERIOD_US, round(_LEAST_QUOTA_US / limits.cpus))
        quota_us = round(limits.cpus * period_us)
        if version_2:
            settings.append(("cpu.max", f"{quota_us} {period_us}"))
        else:
            settings += [("cpu.cfs_period_us", str(period_us)), ("cpu.cfs_quota_us", str(quota_us))]
    return settings
