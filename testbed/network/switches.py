"""What an access point's ports hang on: a Linux bridge, or Open vSwitch where the topology says so.

Both are told beforehand which port leads to which MAC address, so that nothing is ever flooded or learnt.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from testbed.documents.resolved import ResolvedTopology
from testbed.network.addressing import BRIDGE
from testbed.network.batch import run_batch
from testbed.network.errors import NetworkError, RefusedError
from testbed.network.ownership import Ownership

OPEN_VSWITCH_PROGRAMS = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovs-dpctl")
OPEN_VSWITCH_PACKAGE = "openvswitch-switch"
_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_PATIENCE_S = 20
_COUNTED_AFTER_S = 11
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def check_switch(topology: ResolvedTopology) -> None:
    """Goes on if this machine has what a topology's access points are to be made of.

    Raises:
        RefusedError: Open vSwitch is not installed.
    """
    missing = [name for name in OPEN_VSWITCH_PROGRAMS if shutil.which(name, path=_PATH) is None]
    if topology.switch == "ovs" and missing:
        raise RefusedError(
            f"the topology has `switch: ovs`, but Open vSwitch is not installed (there is no {missing[0]}):"
            f" apt install {OPEN_VSWITCH_PACKAGE}, or leave the switch out"
        )


class Switch(Protocol):
    """The switch of one access point."""

    kernel: bool
    """Whether the kernel moves the packets; else a program does, which cannot finish what a sender left to hardware."""

    def making(self, ports: list[str], mac: str, mtu: int) -> list[str]:
        """Makes the switch, whose ports exist, or says by which `ip` commands it is made."""

    def lead(self, ports: Mapping[str, str]) -> None:
        """Tells it which port leads to which MAC address; returns when it forwards."""


class LinuxBridge:
    """A bridge of the kernel."""

    kernel = True

    def __init__(self, ownership: Ownership, access_point: str, pid: int) -> None:
        self._ownership, self._access_point, self._pid = ownership, access_point, pid

    def making(self, ports: list[str], mac: str, mtu: int) -> list[str]:
        """By `ip` alone."""
        return [
            f"link add {BRIDGE} address {mac} type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
            *(f"link set {port} mtu {mtu} master {BRIDGE} up" for port in ports),
        ]

    def lead(self, ports: Mapping[str, str]) -> None:
        """By static entries."""
        entries = [f"fdb add {mac} dev {port} master static" for mac, port in ports.items()]
        run_batch(self._ownership, self._pid, "bridge", entries)
        until = time.monotonic() + _PATIENCE_S
        while waiting := set(ports.values()) - self._forwarding():
            if time.monotonic() > until:
                raise NetworkError(f"ports of {self._access_point} do not forward: {', '.join(sorted(waiting))}")
            time.sleep(0.005)

    def _forwarding(self) -> set[str]:
        child = self._ownership.popen(
            ["bridge", "-json", "link", "show"], in_pid_netns=self._pid, stdout=subprocess.PIPE
        )
        said = child.communicate()[0]
        return {port["ifname"] for port in json.loads(said or b"[]") if port.get("state") == "forwarding"}


class OpenVSwitch:
    """An Open vSwitch of the access point's own: its daemons are processes of the testbed and run inside the namespace.

    All that they write is in the testbed's folder; no service of the machine is touched.
    """

    def __init__(self, ownership: Ownership, access_point: str, pid: int) -> None:
        self._ownership, self._access_point, self._pid = ownership, access_point, pid
        self._folder = ownership.folder / f"ovs-{access_point}"
        self._environment = {
            "PATH": _PATH,
            **{f"OVS_{what}DIR": str(self._folder) for what in ("RUN", "LOG", "DB", "SYSCONF")},
        }
        self._folder.mkdir()
        self.kernel = self._call("ovs-dpctl", "dump-dps").returncode == 0

    def making(self, ports: list[str], mac: str, mtu: int) -> list[str]:
        """Starts the daemons and makes the bridge; `ip` has the ports to bring up."""
        self._mac = mac
        database, address = str(self._folder / "conf.db"), f"unix:{self._folder}/db.sock"
        self._checked("ovsdb-tool", "create", database, str(_SCHEMA))
        self._database = f"--db={address}"
        self._start("ovsdb-server", database, f"--remote=p{address}")
        self._await_socket("db.sock")
        self._checked("ovs-vsctl", self._database, "--no-wait", "init")
        # It takes the processors for none, and then loses packets, until the machine has been up for 10 seconds.
        time.sleep(max(0.0, _COUNTED_AFTER_S - time.monotonic()))
        self._start("ovs-vswitchd", address)
        commands = [f"--timeout={_PATIENCE_S}", "add-br", BRIDGE, "--", "set", "bridge", BRIDGE]
        commands += [f"datapath_type={'system' if self.kernel else 'netdev'}", "fail-mode=secure"]
        commands += [f"other-config:hwaddr={json.dumps(mac)}", "other-config:disable-in-band=true"]
        # The links are shaped on the ports: Open vSwitch is to leave their queueing alone.
        commands += ["--", "--id=@none", "create", "qos", "type=linux-noop"]
        for port in ports:
            commands += ["--", "add-port", BRIDGE, port, "--", "set", "port", port, "qos=@none"]
        self._checked("ovs-vsctl", self._database, *commands)
        return [f"link set {port} mtu {mtu} up" for port in ports]

    def lead(self, ports: Mapping[str, str]) -> None:
        """By one flow for each address; what goes anywhere else is dropped."""
        flows = [f"dl_dst={mac},actions=output:{port}" for mac, port in ports.items()]
        flows.append(f"dl_dst={self._mac},actions=LOCAL")
        path = self._folder / "flows"
        path.write_text("\n".join(flows) + "\n")
        self._checked("ovs-ofctl", "add-flows", f"unix:{self._folder}/{BRIDGE}.mgmt", str(path))

    def _start(self, program: str, *arguments: str) -> None:
        with (self._folder / f"{program}.log").open("ab") as log:
            self._ownership.spawn(
                [program, *arguments, f"--unixctl={self._folder}/{program}.ctl"],
                env=self._environment,
                in_pid_netns=self._pid,
                stdout=log,
                stderr=log,
            )

    def _await_socket(self, name: str) -> None:
        until = time.monotonic() + _PATIENCE_S
        while not (self._folder / name).exists():
            if time.monotonic() > until:
                raise NetworkError(f"the Open vSwitch of {self._access_point} does not start: see {self._folder}")
            time.sleep(0.005)

    def _checked(self, *command: str) -> str:
        done = self._call(*command)
        if done.returncode != 0 or done.stderr:  # ovs-vsctl tells of a port that cannot be had, and ends well
            said = " ".join(done.stderr.split()) or f"{command[0]} ended with {done.returncode}"
            raise NetworkError(f"the Open vSwitch of {self._access_point} could not be set up: {said}")
        return done.stdout

    def _call(self, *command: str) -> subprocess.CompletedProcess[str]:
        argv = self._ownership.argv([*command], in_pid_netns=self._pid)
        return subprocess.run(argv, env=self._environment, capture_output=True, text=True, check=False)
