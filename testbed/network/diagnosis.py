"""What this machine can do for emulated networks, what is missing, and the command that mends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import msgspec

from testbed.documents.resolved import ResolvedTopology
from testbed.network import cgroup
from testbed.network.errors import NetworkError, RefusedError, ShapingUnavailableError
from testbed.network.limits import check_limits, home_of, remedy_for
from testbed.network.namespace import call_in_new
from testbed.network.native import program
from testbed.network.probe import choose_shaping
from testbed.network.switches import OPEN_VSWITCH_PACKAGE, check_switch

PROGRAMS = {
    "mnexec": ("mininet", True),
    "ifconfig": ("net-tools", True),
    "ip": ("iproute2", True),
    "tc": ("iproute2", True),
    "bridge": ("iproute2", True),
    "ethtool": ("ethtool", False),
    "ping": ("iputils-ping", False),
    "iperf3": ("iperf3", False),
    "cc": ("gcc libc6-dev", False),
    "ovs-vswitchd": (OPEN_VSWITCH_PACKAGE, False),
}
"""The programs used, the Debian packages that hold them, and whether nothing works without them."""

FEATURES = {
    "veth": (["ip link add trial type veth peer name other"], "modprobe veth"),
    "bridge": (["ip link add trial type bridge"], "modprobe bridge"),
    "ifb": (["ip link add trial type ifb"], "modprobe ifb"),
    "htb": (["ip link add trial type ifb", "tc qdisc add dev trial root htb"], "modprobe sch_htb"),
    "netem": (["ip link add trial type ifb", "tc qdisc add dev trial root netem delay 1ms"], "modprobe sch_netem"),
    "vxlan": (
        [
            "ip link add trial type vxlan id 1 remote 127.0.0.2 dstport 14789",
            "tc qdisc add dev trial clsact",
            "tc filter add dev trial ingress u32 match u32 0 0 action mirred ingress redirect dev lo",
        ],
        "modprobe -a vxlan sch_ingress cls_u32 act_mirred",
    ),
}
"""What the kernel must do, how it is tried, and how it may be mended."""
_FOR_NETEM_ONLY = ("ifb", "htb", "netem")
MOST_NODES, MOST_LINKS = 1000, 4096
"""What is emulated at the most; simulations may have more."""
FOR_TUNNELS = ("vxlan",)
"""Those that only links between machines need."""


class Check(msgspec.Struct, frozen=True):
    """One thing looked at: whether it is there, whether it must be, and the command that mends it."""

    group: str  # privileges, kernel, programs, python
    name: str
    ok: bool
    needed: bool
    detail: str
    remedy: str | None = None


class Diagnosis(msgspec.Struct, frozen=True):
    """All that was looked at, and the shaping that `up` would choose; null if none."""

    ok: bool
    shaping: str | None
    checks: list[Check]


def require(topology: ResolvedTopology) -> None:
    """Goes on if this machine has what a topology asks for in particular. Makes nothing.

    Raises:
        RefusedError: it lacks something; says what, and what mends it.
    """
    _check_size(topology)
    check_limits(topology)
    check_switch(topology)


def _check_size(topology: ResolvedTopology) -> None:
    nodes = len(topology.access_points) + len(topology.edges) + len(topology.devices)
    for count, most, what in ((nodes, MOST_NODES, "nodes"), (len(topology.links), MOST_LINKS, "links")):
        if count > most:
            raise RefusedError(
                f"{topology.name} has {count:,} {what}, at most {most:,} can be emulated; "
                "testbed run --simulate takes as many as a file may have"
            )


def diagnose() -> Diagnosis:
    """Looks at everything that a testbed needs. Leaves nothing behind."""
    root = os.geteuid() == 0
    checks = [Check("privileges", "root", root, True, "yes" if root else "no", None if root else "sudo testbed doctor")]
    shaping = None
    if root:
        checks += [_feature(name) for name in FEATURES]
        try:
            shaping = choose_shaping().value
        except ShapingUnavailableError:
            checks.append(
                Check("kernel", "shaping", False, True, "links can be shaped neither by netem nor by the relay")
            )
    tun = Path("/dev/net/tun").exists()
    checks.append(Check("kernel", "tun", tun, shaping != "netem", "/dev/net/tun", None if tun else "modprobe tun"))
    place = cgroup.place("testbed")
    detail = str(place.parent) if place else "none can be written: processes are found by pid alone"
    checks.append(
        Check(
            "kernel",
            "cgroup",
            place is not None,
            False,
            detail,
            None if place else "mount -t cgroup2 none /sys/fs/cgroup",
        )
    )
    checks += [_controller(name) for name in ("memory", "cpu")]
    checks += (
        [_program(name) for name in PROGRAMS]
        + [_built(name) for name in ("launch", "hold", "relay", "prober")]
        + _packages()
    )
    return Diagnosis(all(check.ok or not check.needed for check in checks), shaping, checks)


def _feature(name: str) -> Check:
    commands, remedy = FEATURES[name]

    def attempt() -> str | None:
        for command in commands:
            try:
                done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            except FileNotFoundError:
                return f"cannot be tried without {command.split()[0]}"
            if done.returncode != 0:
                return " ".join(done.stderr.split())
        return None

    try:
        fault = call_in_new(attempt)
    except NetworkError as error:
        fault = str(error)
    needed = name not in (*_FOR_NETEM_ONLY, *FOR_TUNNELS)
    return Check("kernel", name, fault is None, needed, fault or "works", None if fault is None else remedy)


def _controller(name: str) -> Check:
    home = home_of(name)
    detail = str(home) if home else f"missing: what a node uses of this machine's {name} cannot be limited"
    return Check("kernel", f"{name} limit", home is not None, False, detail, None if home else remedy_for(name))


def _program(name: str) -> Check:
    package, needed = PROGRAMS[name]
    path = shutil.which(name)
    return Check(
        "programs", name, path is not None, needed, path or "not found", None if path else f"apt install {package}"
    )


def _built(name: str) -> Check:
    try:
        return Check("programs", name, True, True, program(name))
    except NetworkError as error:
        return Check(
            "programs",
            name,
            False,
            True,
            str(error),
            f"{sys.executable} -m pip install --force-reinstall --no-deps testbed",
        )


def _packages() -> list[Check]:
    """The Python packages that this one requires, at the versions it requires."""
    try:
        required = metadata.requires("testbed") or []
    except metadata.PackageNotFoundError:
        return [
            Check("python", "testbed", False, False, "runs from its sources, not installed", "pip install --editable .")
        ]
    checks = []
    for requirement in required:
        wanted, _, condition = requirement.partition(";")
        if "extra" in condition:
            continue
        name, _, version = wanted.strip().partition("==")
        name = name.split(">")[0].strip()
        try:
            found: str | None = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = None
        ok = found is not None and (not version or found.split("+")[0] == version)
        remedy = None if ok else f"{sys.executable} -m pip install '{wanted.strip()}'"
        checks.append(Check("python", name, ok, True, found or "not installed", remedy))
    return checks
