"""Entering a node's network namespace: to make a socket, to call a function, to become a command."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from testbed.network.errors import NetworkError

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_CLONE_NEWNS = 0x00020000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_libc = ctypes.CDLL(None, use_errno=True)  # os.setns and os.unshare came with Python 3.12


def _checked(result: int, attempt: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise NetworkError(f"cannot {attempt}: {os.strerror(error)}")


def _enter(pid: int) -> None:
    """Moves the calling thread into a process's network namespace."""
    try:
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NetworkError(
            f"cannot enter the network of process {pid}: {error.strerror}; is the testbed still up?"
        ) from None
    try:
        _checked(_libc.setns(namespace, _CLONE_NEWNET), f"enter the network of process {pid}")
    finally:
        os.close(namespace)


def call_in(pid: int, function: Callable[[], T]) -> T:
    """Calls a function inside a process's network namespace, in a thread that then ends; the caller stays where it is.

    Raises:
        NetworkError: the namespace cannot be entered. What the function raises is raised here.
    """
    return _in_thread(lambda: _enter(pid), function)


def call_in_new(function: Callable[[], T]) -> T:
    """Calls a function inside a network namespace of its own, which ends with it; raises as `call_in` does."""
    return _in_thread(lambda: _checked(_libc.unshare(_CLONE_NEWNET), "make a network namespace"), function)


def _in_thread(enter: Callable[[], None], function: Callable[[], T]) -> T:
    outcome: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            enter()
            outcome.append(function())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, name="in a namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def socket_in(
    pid: int,
    family: socket.AddressFamily = socket.AF_INET,
    type: socket.SocketKind = socket.SOCK_STREAM,
) -> socket.socket:
    """A socket that lives in the network namespace of a process, for use in any thread; raises as `call_in` does."""
    return call_in(pid, lambda: socket.socket(family, type))


def run_in(pid: int, argv: list[str], hosts_file: Path | None = None) -> NoReturn:
    """Makes the calling process the command, inside the network namespace of a process: streams, signals and exit
    status are then the command's own. With a hosts file, that is what it finds as `/etc/hosts`.

    Call it from a process with one thread.

    Raises:
        NetworkError: the namespace cannot be entered.
        OSError: the command cannot be run.
    """
    _enter(pid)
    if hosts_file is not None:
        _checked(_libc.unshare(_CLONE_NEWNS), "make a private mount namespace")
        _checked(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "make mounts private")
        _checked(_libc.mount(os.fsencode(hosts_file), b"/etc/hosts", None, _MS_BIND, None), "show the nodes' names")
    os.execvp(argv[0], argv)
