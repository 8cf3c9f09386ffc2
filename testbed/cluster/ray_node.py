"""One Ray node of a testbed on this machine: its environment, and its start, alone or as one of several."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

from testbed.cluster.ports import Ports
from testbed.network.native import program
from testbed.network.ownership import Ownership

START_TIMEOUT_S = 60.0
LOOPBACK = "127.0.0.1"
BIND = "TESTBED_BIND"
"""The variable that holds the one address at which Ray may listen."""

_OBJECT_STORE_BYTES = 80 * 2**20


class RayError(Exception):
    """Ray could not be started or reached."""


def environment(token_path: Path | str, address: str = LOOPBACK) -> dict[str, str]:
    """The variables under which every process of this Ray runs, the driver's included.

    Ray reads some of them while it is imported, so they are set first. Without `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0`
    (Ray's only switch for it) Ray replaces loopback by the machine's outward address and listens on all interfaces;
    at another address it listens on all of them in any case, but for the library that is loaded before.
    """
    several = address != LOOPBACK
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1" if several else "0",
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
        **(bound_to(address) if several else {}),
    }


def bound_to(address: str) -> dict[str, str]:
    """The variables under which a program listens at one address where it would listen at all."""
    return {"LD_PRELOAD": program("libbind"), BIND: address}


def write_token(ownership: Ownership, token: str | None = None) -> Path:
    """Put a token where Ray's processes of this machine read it: a file of the testbed's own, for root alone."""
    path = ownership.folder / "token"
    ownership.record("file", path=str(path))
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token or secrets.token_hex(32))
    return path


def start_node(
    ownership: Ownership, token_path: Path, *, address: str, ports: Ports | None, head: str | None = None
) -> tuple[int, str]:
    """Start a head, or a raylet of the head at `head`; it belongs to the testbed from its first instant.

    Args:
        ownership: the testbed's on this machine; its machine names the resource that the node has.
        token_path: see `write_token`.
        address: where it listens.
        ports: the testbed's block; None: whatever is free, on loopback.
        head: address and port of the head; None: this is the head.

    Returns:
        The process that the daemons are children of, and where the head listens.

    Raises:
        RayError: it ended, or did not listen in time; the message ends with what it said.
    """
    log = ownership.folder / "ray.log"
    gcs = head or f"{address}:{ports['gcs'] if ports else _free_port()}"
    waits_for = ports["node_manager"] if ports and head else int(gcs.rpartition(":")[2])
    with log.open("wb") as output:
        pid = ownership.spawn(
            _command(ownership, address, gcs, ports, is_head=head is None),
            env={**os.environ, **environment(token_path, address)},
            stdout=output.fileno(),
            stderr=subprocess.STDOUT,
        )
    _wait_for_port(address, waits_for, pid, log)
    return pid, gcs


def _command(ownership: Ownership, address: str, gcs: str, ports: Ports | None, *, is_head: bool) -> list[str]:
    # --block keeps the daemons children of one recorded process, where no cgroup can be written.
    command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--block",
        f"--node-ip-address={address}",
        "--num-cpus=0",
        "--num-gpus=0",
        f"--resources={json.dumps({f'machine:{ownership.machine}': 1_000_000})}",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--temp-dir={_temp_dir(ownership, ports)}",
        "--include-log-monitor=false",
        "--disable-usage-stats",
    ]
    if is_head:
        command += ["--head", f"--port={gcs.rpartition(':')[2]}", "--include-dashboard=false"]
    else:
        command += [f"--address={gcs}"]
    if ports is None:
        return [*command, "--min-worker-port=0", "--max-worker-port=0"]
    return [
        *command,
        f"--node-manager-port={ports['node_manager']}",
        f"--object-manager-port={ports['object_manager']}",
        f"--metrics-export-port={ports['metrics']}",
        f"--runtime-env-agent-port={ports['runtime_env']}",
        f"--dashboard-agent-grpc-port={ports['agent_grpc']}",
        f"--dashboard-agent-listen-port={ports['agent_http']}",
        *([f"--ray-client-server-port={ports['client']}"] if is_head else []),
        f"--min-worker-port={ports.workers[0]}",
        f"--max-worker-port={ports.workers[-1]}",
    ]


def _temp_dir(ownership: Ownership, ports: Ports | None) -> Path:
    """Where Ray keeps its sockets, whose paths must be short."""
    if ports is None:
        return ownership.folder / "ray"
    path = Path("/tmp") / f"testbed-{secrets.token_hex(4)}"
    ownership.record("file", path=str(path))
    path.mkdir(mode=0o700)
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(address: str, port: int, pid: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
            return
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.02)
    tail = log.read_text(errors="replace").strip().splitlines()[-5:]
    raise RayError("Ray did not start: " + " | ".join(tail))
