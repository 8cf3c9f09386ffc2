"""Lab machines on this one: namespaces with an sshd each, on a management and a data network of their own.

A machine has its own network, processes, mounts, host name, users, cgroups and `/run`, so that what one of them holds
under `/run/testbed` no other sees; the rest of the file system, the kernel and its clock are shared. The bridges lie in
a namespace of their own. Everything ends with the process that made it, whatever ends that.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from testbed.network import cgroup
from testbed.network.cgroup import HIERARCHIES

SSHD = "/usr/sbin/sshd"
PREFIXES = {"eth0": "10.9.0", "eth1": "10.10.0"}
"""The interfaces of a machine: on the management network, and on the one for links between machines."""

_ALONE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--fork", "--kill-child", "--net", "--pid", "--mount-proc")
_MACHINE = """
set -e
case {temporary} in /run/*) mount --bind {temporary} /mnt;; esac
mount -t tmpfs -o mode=755 run /run
case {temporary} in /run/*) mkdir -p {temporary}; mount --move /mnt {temporary};; esac
mkdir /run/sshd
for file in passwd shadow hosts; do mount --bind {folder}/$file /etc/$file; done
if [ -e /etc/sudoers ]; then mount --bind {folder}/sudoers /etc/sudoers; fi
{groups}
{more}
hostname {name}
ip link set lo up
echo ready
read -r
{sshd} -D -E {folder}/{name}.log -f {folder}/{name}.conf &
wait
"""
_SSHD = """
ListenAddress {address}
HostKey {folder}/{name}.key
AuthorizedKeysFile {folder}/authorized
PidFile none
UsePAM no
UseDNS no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
"""


@cache
def why_no_lab() -> str | None:
    """Why no lab can be built here; None if one can."""
    if os.geteuid() != 0:
        return "needs root: run the tests through sudo"
    if not Path(SSHD).exists():
        return "needs an SSH server: apt install openssh-server"
    missing = [name for name in ("setpriv", "unshare", "nsenter", "ssh-keygen") if not shutil.which(name)]
    return f"needs {', '.join(missing)}" if missing else None


class _Init:
    """The first process of namespaces of its own, run by a shell."""

    def __init__(self, *options: str, script: str, log: Path) -> None:
        command = [*_ALONE, *options, "bash", "-c", script]
        with log.open("ab") as output:
            self._outer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output)
        assert self._outer.stdin and self._outer.stdout
        assert self._outer.stdout.readline() == b"ready\n", log.read_text()
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        self.pid = int(children.read_text())

    def go_on(self) -> None:
        assert self._outer.stdin
        self._outer.stdin.write(b"\n")
        self._outer.stdin.flush()

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._outer.wait()
        assert self._outer.stdin and self._outer.stdout
        self._outer.stdin.close()
        self._outer.stdout.close()


class LabMachine:
    """One machine: what is run inside it, and what it holds."""

    def __init__(self, lab: Lab, number: int) -> None:
        self.name = f"lab{number}"
        self.number = number
        self.address, self.tunnel_address = (f"{prefix}.{number}" for prefix in PREFIXES.values())
        self._lab = lab
        self._init: _Init | None = None
        self._groups = {  # a part of each hierarchy, which the machine has for the whole
            hierarchy: hierarchy / f"{lab.folder.name.removeprefix('testbed-')}-{self.name}"
            for hierarchy in HIERARCHIES
            if (hierarchy / "cgroup.procs").exists()
        }

    @property
    def pid(self) -> int:
        """The first process of the machine, as seen from outside."""
        assert self._init, f"{self.name} is off"
        return self._init.pid

    def on(self) -> None:
        """Switches the machine on; its sshd answers on return."""
        folder = self._lab.folder
        (folder / f"{self.name}.conf").write_text(
            _SSHD.format(address=self.address, folder=folder, name=self.name), encoding="ascii"
        )
        for group in self._groups.values():
            group.mkdir()
        groups = "\n".join(f"mount --bind {group} {hierarchy}" for hierarchy, group in self._groups.items())
        script = _MACHINE.format(
            temporary=tempfile.gettempdir(),  # wherever it lies, all share it
            name=self.name,
            folder=folder,
            sshd=SSHD,
            groups=groups,
            more=self._lab.more,
        )
        log = folder / f"{self.name}.log"
        self._init = _Init("--mount", "--uts", script=script, log=log)
        for interface, prefix in PREFIXES.items():
            port = f"{interface}-{self.number}"
            inside = ["nsenter", f"--net=/proc/{self.pid}/ns/net"]
            mac = f"02:00:{int(prefix.split('.')[1]):02x}:00:00:{self.number:02x}"  # its own, as others remember it
            self._lab.ip(f"link add {port} type veth peer name {interface} address {mac} netns {self.pid}")
            self._lab.ip(f"link set {port} master {interface} up")
            for command in (f"addr add {prefix}.{self.number}/24 dev {interface}", f"link set {interface} up"):
                _run([*inside, "ip", *command.split()])
        self._init.go_on()
        deadline = time.monotonic() + 10
        while self.run("bash", "-c", f"</dev/tcp/{self.address}/22", check=False).returncode:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def off(self) -> None:
        """Switches the machine off, without a warning."""
        if self._init:
            for interface in PREFIXES:  # before it ends, as the kernel takes its time to remove a namespace
                with contextlib.suppress(AssertionError):
                    self._lab.ip(f"link del {interface}-{self.number}")
            self._init.end()
            self._init = None
            for group in self._groups.values():
                cgroup.remove(group)

    def cut(self, interface: str = "eth0") -> None:
        """Pulls the cable of one of its interfaces."""
        self._lab.ip(f"link set {interface}-{self.number} down")

    def mend(self, interface: str = "eth0") -> None:
        """Puts the cable back."""
        self._lab.ip(f"link set {interface}-{self.number} up")

    def argv(self, *words: object) -> list[str]:
        """The command line that runs `words` on this machine, in the caller's working directory."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--uts", "--net", "--pid"]
        return [*enter, "sh", "-c", 'cd "$1" && shift && exec "$@"', "-", str(Path.cwd()), *map(str, words)]

    def run(
        self,
        *words: object,
        check: bool = True,
        timeout: float = 240,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on this machine to its end."""
        argv = self.argv("sh", "-c", f"cd {shlex.quote(str(cwd))} && exec " + shlex.join(map(str, words)))
        done = subprocess.run(
            argv if cwd else self.argv(*words),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self._lab.home), **(env or {})},
        )
        assert not check or done.returncode == 0, f"{self.name}: {words}: {done.stdout}\n{done.stderr}"
        return done

    def testbed(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs `testbed` on this machine."""
        return self.run(sys.executable, "-m", "testbed", *words, **options)

    # What it holds.

    def pids(self) -> dict[int, list[str]]:
        """Its processes, by the pids that they have outside, with their command lines."""
        space = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (folder / "ns" / "pid").readlink() == space:
                    words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    found[int(folder.name)] = words
        return found

    def left(self) -> list[str]:
        """What testbeds have left here, in words: processes, files, cgroups and interfaces; nothing if all is clean."""
        running = {pid: " ".join(argv) for pid, argv in self.pids().items() if pid != self.pid}
        words = [f"process {pid}: {argv}" for pid, argv in running.items() if argv and not argv.startswith("sshd: ")]
        root = Path(f"/proc/{self.pid}/root")
        words += [f"file {path.relative_to(root)}" for path in sorted((root / "run" / "testbed").rglob("*"))]
        groups = [each for group in self._groups.values() for each in group.glob("testbed-*")]
        words += [f"cgroup {group}" for group in groups]
        links = self.run("ip", "-br", "link").stdout.splitlines()
        interfaces = {line.split()[0].split("@")[0] for line in links}
        return words + [f"interface {name}" for name in sorted(interfaces - {"lo", *PREFIXES})]


class Lab:
    """Several machines, of which the first is the driver's; all are on while the block lasts.

    `login` may log in to each, as root, and as the users `tester` and `helper`, of whom only the latter may use sudo.
    `more` is shell that each machine runs as it is switched on, before its sshd.
    """

    def __init__(self, count: int, more: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="testbed-lab-"))
        self.home = self.folder / "home"
        self.more = more
        self.machines = [LabMachine(self, number) for number in range(1, count + 1)]
        self.driver = self.machines[0]
        self.login = self.folder / "login"
        self.known_hosts = self.folder / "known_hosts"

    def __enter__(self) -> Lab:
        self.folder.chmod(0o755)
        self.home.mkdir()
        new_key(self.login)
        self.authorise(self.login)
        self._write_users()
        for machine in self.machines:
            new_key(self.folder / f"{machine.name}.key")
        self.know_hosts()
        self._switch = _Init(script="echo ready; sleep infinity & wait", log=self.folder / "switch.log")
        try:
            for interface in PREFIXES:
                self.ip(f"link add {interface} type bridge")
                self.ip(f"link set {interface} up")
            for machine in self.machines:
                machine.on()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for machine in self.machines:
            machine.off()
        self._switch.end()
        shutil.rmtree(self.folder)

    def ip(self, command: str) -> None:
        """Runs `ip` in the namespace of the bridges."""
        _run(["nsenter", f"--net=/proc/{self._switch.pid}/ns/net", "ip", *command.split()])

    def authorise(self, *keys: Path) -> None:
        """Lets the owners of these keys log in, and nobody else."""
        text = "".join(key.with_suffix(".pub").read_text() for key in keys)
        (self.folder / "authorized").write_text(text)

    def know_hosts(self) -> None:
        """Writes the machines' host keys into `known_hosts`."""
        lines = []
        for machine in self.machines:
            kind, key = (self.folder / f"{machine.name}.key.pub").read_text().split()[:2]
            lines.append(f"{machine.address} {kind} {key}\n")
        self.known_hosts.write_text("".join(lines))

    def document(self, **more: object) -> dict[str, dict[str, object]]:
        """What stands under `machines:` in a topology; `more` is added to each machine."""
        return {
            machine.name: {
                "address": machine.address,
                "tunnel_address": machine.tunnel_address,
                "key_file": str(self.login),
                "known_hosts": str(self.known_hosts),
                **more,
            }
            for machine in self.machines
        }

    def _write_users(self) -> None:
        users = {name: Path(f"/etc/{name}").read_text() for name in ("passwd", "shadow")}
        for name, number in (("tester", 4242), ("helper", 4243)):
            users["passwd"] += f"{name}:x:{number}:65534::{self.home}:/bin/sh\n"
            users["shadow"] += f"{name}:*:20000:0:99999:7:::\n"
        users["sudoers"] = "helper ALL=(root) NOPASSWD: ALL\n"
        users["hosts"] = "127.0.0.1 localhost\n"
        users["hosts"] += "".join(f"{machine.address} {machine.name}\n" for machine in self.machines)
        for name, text in users.items():
            (self.folder / name).write_text(text)
        (self.folder / "shadow").chmod(0o600)
        (self.folder / "sudoers").chmod(0o440)


def new_key(path: Path) -> None:
    """Makes a key pair, without a passphrase."""
    _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)])


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
