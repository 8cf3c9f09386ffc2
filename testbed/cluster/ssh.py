"""SSH to the other lab machines: to known hosts only, one connection a machine, all machines in parallel."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import logging
import os
import pwd
import shlex
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec
import paramiko

from testbed.documents.resolved import Machine
from testbed.network.errors import RefusedError

CONNECT_TIMEOUT_S = 5.0
SILENCE_S = 10.0
"""So long a machine may leave unanswered what was sent, before its connection is given up."""

_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_CHUNK = 65536

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # it would print what is raised here as well

_Result = TypeVar("_Result")
_Reply = TypeVar("_Reply")


class MachineError(RefusedError):
    """What one machine cannot do, with the remedy; the message begins with its name."""

    def __init__(self, machine: Machine, message: str) -> None:
        self.machine = machine.name
        self.fault = message
        super().__init__(f"{machine.name} ({machine.address}): {message}")


class UnknownHostError(MachineError):
    """Its host key is not among the known ones."""


class ChangedHostKeyError(MachineError):
    """It shows another host key than the known one."""


class NoLoginError(MachineError):
    """It does not let the user in."""


class NoSudoError(MachineError):
    """The user may not become root there without a password."""


class UnreachableError(MachineError):
    """It does not answer, or no longer."""


class FailedError(MachineError):
    """A command there failed, or gave no answer that can be read."""


class MachinesError(RefusedError):
    """What several machines cannot do, a line each."""


class Completed(msgspec.Struct, frozen=True):
    """A command that ran to its end on another machine."""

    exit_status: int  # -1: the machine did not say
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """The last line that it wrote to stderr, else how it ended."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with status {self.exit_status}"


class Remote:
    """The connection to one machine. Its methods may be called by several threads at once."""

    def __init__(self, machine: Machine, client: Any) -> None:
        self.machine = machine
        self._client = client

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        """Runs a command as root to its end.

        Raises:
            UnreachableError: the connection broke, or the command took more than `timeout_s`; it may be running still.
        """
        out, err = bytearray(), bytearray()
        chunks = iter((stdin,) if stdin else ())
        status = self._session(argv, lambda: next(chunks, b""), out.extend, err.extend, timeout_s)
        return Completed(status, bytes(out), bytes(err))

    def stream(self, argv: Sequence[str], stdin: int | None, stdout: BinaryIO, stderr: BinaryIO) -> int:
        """Runs a command as root with the caller's streams, `stdin` as a file descriptor, and returns its exit status.

        What it writes arrives as it writes it. Its own input ends where the caller's does.

        Raises:
            UnreachableError: the connection broke.
        """

        def to(file: BinaryIO, chunk: bytes) -> None:
            file.write(chunk)
            file.flush()

        def read() -> bytes:
            return b"" if stdin is None else os.read(stdin, _CHUNK)

        return self._session(argv, read, functools.partial(to, stdout), functools.partial(to, stderr), None)

    def put(self, content: bytes, path: str, timeout_s: float = 60.0) -> None:
        """Writes a file of mode 600, whole or not at all; its folder must be there.

        Raises:
            FailedError, UnreachableError: it could not be written.
        """
        script = 'umask 077 && cat >"$1.new" && mv -- "$1.new" "$1"'
        done = self.run(["sh", "-c", script, "-", path], content, timeout_s)
        if done.exit_status != 0:
            raise FailedError(self.machine, f"{path} could not be written: {done.complaint}")

    def call(self, verb: str, argument: object, reply: type[_Reply], timeout_s: float = 60.0) -> _Reply:
        """What a verb of `testbed.cluster.there` answers there; argument and reply go as JSON.

        Raises:
            FailedError: the verb failed, or the machine has no testbed, or one that does not know the verb.
            UnreachableError: the connection broke, or it took longer than `timeout_s`.
        """
        argv = [self.machine.python, "-P", "-m", "testbed.cluster.there", verb]
        done = self.run(argv, msgspec.json.encode(argument), timeout_s)
        if done.exit_status == 127 or (done.exit_status != 0 and b"No module named" in done.stderr):
            remedy = "run `testbed machines prepare TOPOLOGY`, or give the right `python`"
            raise FailedError(self.machine, f"{self.machine.python} has no testbed ({done.complaint}): {remedy}")
        if done.exit_status != 0:
            raise FailedError(self.machine, f"{verb} failed: {done.complaint}")
        try:
            return msgspec.json.decode(done.stdout.strip().split(b"\n")[-1], type=reply)  # a shell may greet before it
        except msgspec.DecodeError as error:
            remedy = "run `testbed machines check TOPOLOGY`"
            raise FailedError(self.machine, f"the answer to {verb} cannot be read ({error}): {remedy}") from error

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def _session(
        self,
        argv: Sequence[str],
        read: Callable[[], bytes],
        out: Callable[[bytes], None],
        err: Callable[[bytes], None],
        timeout_s: float | None,
    ) -> int:
        words = argv if self.machine.user == "root" else ["sudo", "-n", "--", *argv]
        over = threading.Event()

        def give_up() -> None:
            over.set()
            channel.close()

        try:
            channel = self._transport().open_session(timeout=CONNECT_TIMEOUT_S)
            timer = threading.Timer(timeout_s or 0.0, give_up)
            timer.daemon = True
            if timeout_s is not None:
                timer.start()
            try:
                channel.exec_command(shlex.join(words))
                threading.Thread(target=_feed, args=(channel, read), daemon=True).start()
                errors = threading.Thread(target=_drain, args=(channel.recv_stderr, err), daemon=True)
                errors.start()
                _drain(channel.recv, out)
                errors.join()
                status: int = channel.recv_exit_status()
            finally:
                timer.cancel()
                channel.close()
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._broken(str(error) or type(error).__name__) from error
        if over.is_set():
            raise UnreachableError(self.machine, f"{shlex.join(argv)} gave no answer within {timeout_s:g} s")
        if status < 0:
            self._transport()
        return status

    def _transport(self) -> Any:
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            raise self._broken("it ended")
        return transport

    def _broken(self, fault: str) -> UnreachableError:
        return UnreachableError(self.machine, f"the connection to it broke ({fault}): is it on, and its cable in?")


@contextlib.contextmanager
def connected(machines: Sequence[Machine]) -> Iterator[Mapping[str, Remote | MachineError]]:
    """A connection to each machine, or why there is none, for the time of the block."""
    found = in_parallel(_connect, {machine.name: machine for machine in machines})
    try:
        yield found
    finally:
        for one in found.values():
            if isinstance(one, Remote):
                one.close()


@contextlib.contextmanager
def all_connected(machines: Sequence[Machine]) -> Iterator[Mapping[str, Remote]]:
    """A connection to every machine for the time of the block.

    Raises:
        MachinesError: some could not be reached; a line for each.
    """
    with connected(machines) as found:
        yield required(found)


def required(results: Mapping[str, _Result | MachineError]) -> Mapping[str, _Result]:
    """The machines' results, if all have one.

    Raises:
        MachinesError: some have an error instead; a line for each.
    """
    good = {name: one for name, one in results.items() if not isinstance(one, MachineError)}
    if len(good) < len(results):
        raise MachinesError("\n".join(str(one) for one in results.values() if isinstance(one, MachineError)))
    return good


_Given = TypeVar("_Given")


def in_parallel(
    work: Callable[[_Given], _Result], given: Mapping[str, _Given | MachineError]
) -> dict[str, _Result | MachineError]:
    """What `work` gives for each machine, all at once; its error where it raises one, or came with one."""
    results: dict[str, _Result | MachineError] = {}
    faults: list[BaseException] = []

    def one(name: str, item: _Given) -> None:
        try:
            results[name] = work(item)
        except MachineError as error:
            results[name] = error
        except BaseException as fault:
            faults.append(fault)

    threads = []
    for name, item in given.items():
        if isinstance(item, MachineError):
            results[name] = item
        else:  # a daemon: who interrupts does not wait for what other machines are at
            threads.append(threading.Thread(target=one, args=(name, item), daemon=True, name=f"asking {name}"))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return {name: results[name] for name in given}


def home() -> Path:
    """The home of the user who called, under sudo too: that is whose keys and known hosts count."""
    caller = os.environ.get("SUDO_USER")
    if caller and os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            return Path(pwd.getpwnam(caller).pw_dir)
    return Path("~").expanduser()


def _connect(machine: Machine) -> Remote:
    files = _known_hosts(machine)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(_Refusal(machine, files[0]))
    for file in files:
        if file.exists():
            try:
                client.load_system_host_keys(str(file))
            except (OSError, paramiko.SSHException, paramiko.hostkeys.InvalidHostKey) as error:
                raise UnknownHostError(machine, f"{file} cannot be read: {error}; mend or remove that line") from error
    try:
        _log_in(machine, client, files[0])
        remote = Remote(machine, client)
        _become_root(remote)
    except BaseException:
        client.close()
        raise
    return remote


def _log_in(machine: Machine, client: Any, known_hosts: Path) -> None:
    keys = [_own(machine.key_file)] if machine.key_file else [home() / ".ssh" / name for name in _KEYS]
    if machine.key_file and not keys[0].is_file():
        raise NoLoginError(machine, f"there is no key file {keys[0]}: ssh-keygen -t ed25519 -f {_word(keys[0])}")
    offered = [key for key in keys if key.is_file()]
    where = f"port {machine.port}"
    try:
        sock = socket.create_connection((machine.address, machine.port), timeout=CONNECT_TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENCE_S * 1e3))
        client.connect(
            machine.address,
            machine.port,
            machine.user,
            key_filename=[str(key) for key in offered],
            look_for_keys=False,
            sock=sock,
            timeout=CONNECT_TIMEOUT_S,
            banner_timeout=CONNECT_TIMEOUT_S,
            auth_timeout=CONNECT_TIMEOUT_S,
        )
        client.get_transport().set_keepalive(3)
    except paramiko.BadHostKeyException as error:
        mend = f"ssh-keygen -f {_word(known_hosts)} -R {shlex.quote(_host(machine))} && {_learn(machine, known_hosts)}"
        raise ChangedHostKeyError(
            machine,
            f"its host key has changed, it shows {_shown(error.key)} where {_shown(error.expected_key)} is known:"
            f" somebody may be in between; if it was set up anew, run {mend}",
        ) from error
    except paramiko.PasswordRequiredException as error:
        raise NoLoginError(machine, f"its key is locked by a passphrase: ssh-add {_word(keys[0])}") from error
    except (paramiko.SSHException, EOFError) as error:
        if not isinstance(error, paramiko.AuthenticationException) and "authentication" not in str(error):
            fault = f"what answers at {where} speaks no SSH that is understood: {error}"
            raise UnreachableError(machine, f"{fault}; give the `port` of its SSH server") from error
        key = offered[0] if offered else keys[0]
        make = "" if offered else f"ssh-keygen -t ed25519 -f {_word(key)} && "
        port = "" if machine.port == 22 else f" -p {machine.port}"
        copy = f"ssh-copy-id -i {_word(key)}.pub{port} {machine.user}@{machine.address}"
        which = f"with {', '.join(map(str, offered))}" if offered else "without a key"
        raise NoLoginError(machine, f"does not let {machine.user} in {which}: {make}{copy}") from error
    except OSError as error:
        fault = error.strerror or str(error)
        raise UnreachableError(
            machine, f"does not answer at {where} ({fault}): switch it on, and see that its SSH server runs"
        ) from error


def _become_root(remote: Remote) -> None:
    user = remote.machine.user
    if user == "root":
        return
    done = remote.run(["true"])
    if done.exit_status == 127:
        raise NoSudoError(
            remote.machine, "has no sudo, which all but root need: apt install sudo, or give `user: root`"
        )
    if done.exit_status != 0:
        line = f"{user} ALL=(root) NOPASSWD: ALL"
        raise NoSudoError(
            remote.machine,
            f"{user} may not use sudo without a password ({done.complaint}): as root there, run"
            f" echo '{line}' >/etc/sudoers.d/testbed",
        )


class _Refusal(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Refuses hosts that are not known."""

    def __init__(self, machine: Machine, known_hosts: Path) -> None:
        self._machine = machine
        self._known_hosts = known_hosts

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        kind = "ecdsa" if key.get_name().startswith("ecdsa") else key.get_name().removeprefix("ssh-")
        raise UnknownHostError(
            self._machine,
            f"its host key is not known; it shows {_shown(key)}: if that is what `ssh-keygen -lf"
            f" /etc/ssh/ssh_host_{kind}_key.pub` says on it, run"
            f" {_learn(self._machine, self._known_hosts)}",
        )


def _known_hosts(machine: Machine) -> list[Path]:
    """The files that may have a machine's key, first the one to write it into."""
    if machine.known_hosts:
        return [_own(machine.known_hosts)]
    return [home() / ".ssh" / "known_hosts", Path("/etc/ssh/ssh_known_hosts")]


def _own(path: str) -> Path:
    return home() / path[2:] if path.startswith("~/") else Path(path)


def _host(machine: Machine) -> str:
    """What a machine is called in known hosts."""
    return machine.address if machine.port == 22 else f"[{machine.address}]:{machine.port}"


def _learn(machine: Machine, known_hosts: Path) -> str:
    port = "" if machine.port == 22 else f"-p {machine.port} "
    return f"ssh-keyscan {port}{machine.address} >>{_word(known_hosts)}"


def _shown(key: Any) -> str:
    """A host key as ssh-keygen -l shows it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def _word(path: Path) -> str:
    return shlex.quote(str(path))


def _feed(channel: Any, read: Callable[[], bytes]) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while chunk := read():
            channel.sendall(chunk)
        channel.shutdown_write()


def _drain(receive: Callable[[int], bytes], write: Callable[[bytes], None]) -> None:
    while chunk := receive(_CHUNK):
        write(chunk)
