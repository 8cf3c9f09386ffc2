"""What one testbed owns on one machine: the lock, the journal, the cgroup, and the processes started under them.

Everything lies in `/run/testbed/NAME/MACHINE/`. What is made is written to `journal.jsonl` first, so that `undo` finds
it whatever crashed and wherever it did.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from testbed.network import cgroup
from testbed.network.errors import AlreadyUpError, AmbiguousError, BusyError, NetworkError, NotRootError, NotUpError
from testbed.network.native import program
from testbed.network.processes import Process, is_alive, process, with_descendants
from testbed.network.undo import UndoReport, groups_in, processes_in, this_boot, undo

RUN_FOLDER = Path("/run/testbed")
LOCAL = "local"
"""The machine's name where there is one."""


class Ownership:
    """A testbed's possessions on this machine. Made by `create` or `open`; safe to open in several processes."""

    def __init__(self, name: str, machine: str, group: Path | None) -> None:
        self.name = name
        self.machine = machine
        self.label = f"testbed-{name}" if machine == LOCAL else f"testbed-{name}.{machine}"  # of its cgroups
        self.folder = RUN_FOLDER / name / machine
        self.journal = self.folder / "journal.jsonl"
        self.group = group
        self._lock: int | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    @classmethod
    def create(cls, name: str, machine: str = LOCAL) -> Ownership:
        """Begins a testbed: its folder, journal and cgroup. The lock is held on return.

        Raises:
            BusyError: another command is at work on that name.
            AlreadyUpError: a testbed of that name is there.
            NotRootError: not root.
        """
        require_root()
        own = cls(name, machine, None)
        own.group = cgroup.place(own.label)
        own.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        own.acquire()
        if own.journal.exists():
            own.release()
            raise AlreadyUpError(f"testbed {name!r} is up already: take it down first (testbed down {name})")
        own.journal.touch(mode=0o600)
        own.record("boot", id=this_boot())
        if own.group:
            own.record("cgroup", path=str(own.group))
            own.group.mkdir(exist_ok=True)
        return own

    @classmethod
    def open(cls, name: str) -> Ownership:
        """An existing testbed's possessions, without taking the lock.

        Raises:
            NotUpError: there is no such testbed.
        """
        folders = (folder.name for folder in (RUN_FOLDER / name).glob("*") if folder.is_dir())
        own = cls(name, next(folders, LOCAL), None)  # a machine has no more than one part of a testbed
        if not own.folder.is_dir():
            raise NotUpError(f"no testbed {name!r} is up" + _those_up())
        own.group = next((group for group in groups_in(own.entries()) if group.is_dir()), None)
        return own

    # The lock: who may change the testbed as a whole.

    def acquire(self) -> None:
        """Takes the lock; held until `release`, `undo`, or this process's end.

        Raises:
            BusyError: another process holds it.
            NotUpError: the testbed was taken down meanwhile.
        """
        path = self.folder / "lock"
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise NotUpError(f"testbed {self.name!r} was taken down") from None
        until = time.monotonic() + 2
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # A child of a holder that was killed holds the lock too, until it becomes its own program.
                holder = os.pread(lock, 200, 0).decode(errors="replace").split(" ", 2)
                if len(holder) < 3 or is_alive(Process(int(holder[0]), int(holder[1]))) or time.monotonic() > until:
                    os.close(lock)
                    who = f"process {holder[0]} ({holder[2]})" if len(holder) == 3 else "another command"
                    message = f"testbed {self.name!r} is being worked on by {who}: try again when it is done"
                    raise BusyError(message) from None
                time.sleep(0.005)
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(lock)):
            os.close(lock)
            raise NotUpError(f"testbed {self.name!r} was taken down")
        me = process(os.getpid())
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()} {me.start if me else 0} {' '.join(sys.argv)[:120]}".encode(), 0)
        self._lock = lock

    def hold(self) -> None:
        """Takes the lock, unless this object holds it, or the testbed has gone; raises as `acquire` does."""
        if self._lock is None and self.folder.is_dir():
            self.acquire()

    def release(self) -> None:
        """Gives the lock back, if this object holds it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # The journal: what has been made, or was about to be.

    def record(self, kind: str, **facts: Any) -> None:
        """Writes one thing to the journal; call it before making the thing. Facts are JSON values."""
        self.record_all([{"kind": kind, **facts}])

    def record_all(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Writes several things with one write."""
        # A line break on both sides: what a crash cut short before must not spoil what follows.
        text = "".join("\n" + json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries).encode()
        journal = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            if os.write(journal, text) != len(text):
                raise NetworkError(f"could not write to {self.journal}: is the disk full?")
        finally:
            os.close(journal)

    def entries(self) -> list[dict[str, Any]]:
        """What the journal holds, oldest first; a line that a crash cut short is left out."""
        try:
            lines = self.journal.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and isinstance(entry.get("kind"), str):
                found.append(entry)
        return found

    # Processes: each is in the journal and in the cgroup before it does anything.

    def argv(self, argv: list[str], *, in_pid_netns: int | None = None, name: str | None = None) -> list[str]:
        """The command line that becomes `argv` once journalled, inside the cgroup and, if given, in the network
        namespace of that process. The pid stays that of the process that runs it."""
        procs = str(self.group / "cgroup.procs") if self.group else "-"
        return [program("launch"), str(self.journal), procs, str(in_pid_netns or 0), name or Path(argv[0]).name, *argv]

    def popen(
        self, argv: list[str], *, in_pid_netns: int | None = None, name: str | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Starts a process of the testbed; the options are those of `subprocess.Popen`."""
        return subprocess.Popen(self.argv(argv, in_pid_netns=in_pid_netns, name=name), **options)

    def spawn(
        self,
        argv: list[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        stdout: int | IO[Any] | None = subprocess.DEVNULL,
        stderr: int | IO[Any] | None = subprocess.DEVNULL,
        in_pid_netns: int | None = None,
    ) -> int:
        """Starts a process of the testbed that outlives the caller; its standard input is empty. Returns its pid."""
        child = self.popen(
            argv,
            in_pid_netns=in_pid_netns,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        self._children.append(child)  # a Popen that is let go while its process lives complains
        return child.pid

    def adopt(self, pid: int) -> None:
        """Takes a running process, with its children to come, into the testbed.

        Raises:
            NetworkError: there is no such process.
        """
        known = process(pid)
        if known is None:
            raise NetworkError(f"cannot adopt process {pid}: there is none")
        self.record("process", pid=known.pid, start=known.start, name="adopted")
        if self.group:
            cgroup.enter(self.group, pid)

    def enter_cgroup(self) -> None:
        """Takes the calling process into the testbed."""
        self.adopt(os.getpid())

    def processes(self) -> dict[Process, str]:
        """The living processes of the testbed, with the names under which they were recorded, "" if they were not."""
        entries = self.entries()
        recorded = processes_in(entries)
        everyone = set(recorded).union(*(cgroup.members(group) for group in groups_in(entries)))
        return {one: recorded.get(one, "") for one in sorted(with_descendants(everyone))}

    # The end.

    def undo(self, elsewhere: Sequence[str] = ()) -> UndoReport:
        """Ends the testbed's processes, undoes its journal newest first, removes its folder. May be repeated.

        Args:
            elsewhere: what could not be undone on other machines: the folder then stays.

        Raises:
            BusyError: another command holds the lock.
        """
        self.hold()
        report = undo(self.entries, self.folder, elsewhere)
        for child in self._children:
            child.poll()
        self.release()
        return report


def names_up() -> list[str]:
    """The names of the testbeds on this machine, whole or in ruins."""
    return sorted({folder.parent.name for folder in RUN_FOLDER.glob("*/*") if folder.is_dir()})


def resolve_name(name: str | None) -> str:
    """The testbed that is meant: the one named, or the only one.

    Raises:
        NotUpError: it is not up, or none is.
        AmbiguousError: several are up and none was named.
    """
    up = names_up()
    if name is not None:
        if name not in up:
            raise NotUpError(f"no testbed {name!r} is up" + _those_up())
        return name
    if not up:
        raise NotUpError("no testbed is up")
    if len(up) > 1:
        raise AmbiguousError(f"several testbeds are up ({', '.join(up)}): name one with --name")
    return up[0]


def require_root() -> None:
    """Goes on as root only.

    Raises:
        NotRootError: saying how to call the command again.
    """
    if os.geteuid() != 0:
        arguments = [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv[0].endswith("testbed") else ["testbed", "..."]
        raise NotRootError(f"this needs root, for namespaces and links: sudo {shlex.join(arguments)}")


def _those_up() -> str:
    up = names_up()
    return f" (up: {', '.join(up)})" if up else ""
