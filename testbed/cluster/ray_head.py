"""The Ray head of one testbed: its start, and the way to reach it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from testbed.cluster.placement import here
from testbed.cluster.ports import Ports
from testbed.cluster.ray_node import BIND, LOOPBACK, RayError, bound_to, environment, start_node, write_token
from testbed.documents.resolved import ResolvedTopology
from testbed.network.ownership import Ownership
from testbed.network.processes import Process, is_alive, process

NAMESPACE = "testbed"
_WATCH_PAUSE_S = 0.25
_INTERRUPTION_S = 20.0
_DIED = "Ray died; run `testbed down`, then up again"


class RayHead(msgspec.Struct, frozen=True):
    """Where a testbed's Ray listens, and the file that holds its token."""

    address: str
    token_path: str
    pid: int  # of the process that the daemons are children of
    start: int  # its start time, in clock ticks since boot
    ports: Ports | None = None  # of a testbed of several machines

    @property
    def host(self) -> str:
        """The address of the head's machine."""
        return self.address.rpartition(":")[0]


def start(ownership: Ownership, address: str = LOOPBACK, ports: Ports | None = None) -> RayHead:
    """Start a head, on loopback or at this machine's address among several, with ports and folders of its own.

    Raises:
        RayError: it ended, or did not listen in time; the message ends with what it said.
    """
    token_path = write_token(ownership)
    pid, gcs = start_node(ownership, token_path, address=address, ports=ports)
    known = process(pid)
    if known is None:
        raise RayError(_DIED)
    head = RayHead(gcs, str(token_path), known.pid, known.start, ports)
    path = _head_path(ownership.folder)
    ownership.record("file", path=str(path))
    path.write_bytes(msgspec.json.encode(head))
    return head


def head_of(folder: Path) -> RayHead:
    """The head of the testbed whose folder this is.

    Raises:
        RayError: there is none: the testbed did not come up whole.
    """
    try:
        return msgspec.json.decode(_head_path(folder).read_bytes(), type=RayHead)
    except (OSError, msgspec.DecodeError) as error:
        raise RayError(f"testbed {folder.parent.name} has no Ray to talk to ({error}); run `testbed down`") from error


@contextlib.contextmanager
def connected(head: RayHead) -> Iterator[Any]:
    """Ray's module, connected to a head as a driver for the time of the block.

    Raises:
        RayError: it does not answer, or dies meanwhile.
    """
    os.environ.update(environment(head.token_path, head.host))
    import ray
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    ray._private.worker.print_to_stdstream = lambda *_, **__: None  # of a raylet that died; its actors tell
    AuthenticationTokenLoader.instance().reset_cache()  # a process that has met another testbed holds its token
    watch = _Watch(head)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        watch.start()
        try:
            ray.init(
                address=head.address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level="critical",
                _node_ip_address=head.host,
            )
        except Exception as error:
            raise RayError(f"Ray at {head.address} does not answer: {error}; run `testbed down`") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own handler ends the process, clean-up and all
        try:
            yield ray
        finally:
            ray.shutdown()
    except KeyboardInterrupt:
        if watch.died:
            raise RayError(_DIED) from None
        raise
    finally:
        watch.over.set()


def listen_for(topology: ResolvedTopology) -> None:
    """Let this command's own part of Ray listen at this machine's address among several, and nowhere else.

    A program can only be told so when it begins: the command begins anew. Call it before anything has been done.

    Raises:
        RefusedError: this machine is none of the topology's.
    """
    addresses = {machine.name: machine.address for machine in topology.machines}
    address = addresses.get(here(topology))
    if address and os.environ.get(BIND) != address:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **bound_to(address)})


class _Watch(threading.Thread):
    """Interrupts the main thread when Ray dies, as its client would wait for minutes; where that is in vain, exits."""

    def __init__(self, head: RayHead) -> None:
        super().__init__(daemon=True, name="watch over Ray")
        self._process = Process(head.pid, head.start)
        self.over = threading.Event()
        self.died = False

    def run(self) -> None:
        """Watch until the block is over."""
        while is_alive(self._process):
            if self.over.wait(_WATCH_PAUSE_S):
                return
        self.died = True
        main = threading.main_thread().ident
        if main is not None:
            signal.pthread_kill(main, signal.SIGINT)
        if not self.over.wait(_INTERRUPTION_S):
            print(f"testbed: {_DIED}", file=sys.stderr, flush=True)
            os._exit(1)


def _head_path(folder: Path) -> Path:
    return folder / "ray.json"
