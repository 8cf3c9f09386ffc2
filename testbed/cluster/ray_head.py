"""The Ray head of one testbed: its environment, its start, and the way to reach it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from testbed.network.ownership import Ownership
from testbed.network.processes import Process, is_alive, process

NAMESPACE = "testbed"
START_TIMEOUT_S = 60.0
_LOOPBACK = "127.0.0.1"
_OBJECT_STORE_BYTES = 80 * 2**20
_WATCH_PAUSE_S = 0.25
_INTERRUPTION_S = 20.0
_DIED = "Ray died; run `testbed down`, then up again"


class RayError(Exception):
    """Ray could not be started or reached."""


class RayHead(msgspec.Struct, frozen=True):
    """Where a testbed's Ray listens, and the file that holds its token."""

    address: str
    token_path: str
    pid: int  # of the process that the daemons are children of
    start: int  # its start time, in clock ticks since boot


def environment(token_path: Path | str) -> dict[str, str]:
    """The variables under which every process of this Ray runs, the driver's included.

    Ray reads some of them while it is imported, so they are set first. Without `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0`
    (Ray's only switch for it) Ray replaces loopback by the machine's outward address and listens on all interfaces.
    """
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_worker_prestart": "0",
        "RAY_worker_niceness": "0",  # else devices and edges yield to whatever else runs on the machine
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "2000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_DEDUP_LOGS": "0",
        "OMP_NUM_THREADS": "1",
    }


def start(ownership: Ownership) -> RayHead:
    """Start a head on loopback with ports and folders of its own; it belongs to the testbed from its first instant.

    Raises:
        RayError: it ended, or did not listen in time; the message ends with what it said.
    """
    folder = ownership.folder
    token_path = folder / "token"
    ownership.record("file", path=str(token_path))
    with os.fdopen(os.open(token_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    port = _free_port()
    log = folder / "ray.log"
    with log.open("wb") as output:
        pid = ownership.spawn(
            _command(port, folder / "ray"),
            env={**os.environ, **environment(token_path)},
            stdout=output.fileno(),
            stderr=subprocess.STDOUT,
        )
    _wait_for_port(port, pid, log)
    known = process(pid)
    if known is None:
        raise RayError(_DIED)
    head = RayHead(f"{_LOOPBACK}:{port}", str(token_path), known.pid, known.start)
    path = _head_path(folder)
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
    os.environ.update(environment(head.token_path))
    import ray
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    AuthenticationTokenLoader.instance().reset_cache()  # a process that has met another testbed holds its token
    watch = _Watch(head)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        watch.start()
        try:
            ray.init(address=head.address, namespace=NAMESPACE, log_to_driver=False, logging_level="critical")
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


def _command(port: int, temp_dir: Path) -> list[str]:
    # --block keeps the daemons children of one recorded process, where no cgroup can be written.
    return [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        f"--node-ip-address={_LOOPBACK}",
        f"--port={port}",
        "--num-cpus=0",
        "--num-gpus=0",
        f"--resources={json.dumps({'machine:local': 1_000_000})}",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--temp-dir={temp_dir}",
        "--include-dashboard=false",
        "--include-log-monitor=false",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--disable-usage-stats",
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(port: int, pid: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, port), timeout=1):
            return
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.02)
    tail = log.read_text(errors="replace").strip().splitlines()[-5:]
    raise RayError("Ray did not start: " + " | ".join(tail))
