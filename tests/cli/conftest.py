"""Testbeds brought up by the real command, and a look at what a machine holds."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

PAIR = """
name: {name}
access_points: {{ap1: {{}}}}
edges: {{edge1: {{access_point: ap1, compute: {{gflops: 200}}}}}}
devices: {{dev: {{count: 2, compute: {{gflops: 5}}}}}}
links:
  - {{between: [dev*, ap1], bandwidth: 10 Mbit/s, delay: 5 ms}}
  - {{between: [edge1, ap1], bandwidth: 100 Mbit/s, delay: 0.2 ms}}
"""

WORKLOAD = """
name: brief
duration: {duration}
seed: {seed}
deadline: 200 ms
arrivals: {{process: poisson, rate: 5 /s}}
offloading: {{policy: {policy}}}
events: {events}
"""


def testbed(*arguments: object, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    command = [sys.executable, "-m", "testbed", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    if check:
        assert done.returncode == 0, f"testbed {' '.join(map(str, arguments))}: {done.stdout}\n{done.stderr}"
    return done


@pytest.fixture
def command() -> Command:
    return testbed


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Writes a topology and a workload, and names them."""

    def write(name: str, *, policy: str = "greedy", **fields: object) -> tuple[Path, Path]:
        topology, workload = tmp_path / f"{name}.yaml", tmp_path / f"{name}-workload.yaml"
        topology.write_text(PAIR.format(name=name))
        workload.write_text(WORKLOAD.format(policy=policy, **{"seed": 1, "events": "[]", "duration": "2 s", **fields}))
        return topology, workload

    return write


class Machine:
    """What lies on this machine that a testbed could leave behind."""

    def holdings(self) -> dict[str, set[str]]:
        links = json.loads(subprocess.check_output(["ip", "-j", "link"]))
        return {
            "interfaces": {link["ifname"] for link in links},
            "named namespaces": {path.name for path in Path("/run/netns").glob("*")},
            "namespaces": {str(path.readlink()) for path in Path("/proc").glob("[0-9]*/ns/net") if _readable(path)},
            "testbeds": {path.name for path in Path("/run/testbed").glob("*")},
            "cgroups": {str(path) for path in Path("/sys/fs/cgroup").glob("**/testbed-*")},
            "processes": {
                f"{path.parent.name} {command}"
                for path in Path("/proc").glob("[0-9]*/cmdline")
                if any(
                    word in (command := _command(path))
                    for word in ("raylet", "gcs_server", "ray::", "/relay", "mininet:")
                )
            },
        }


def _readable(path: Path) -> bool:
    try:
        path.readlink()
    except OSError:
        return False
    return True


def _command(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


@pytest.fixture
def machine() -> Iterator[Machine]:
    """The machine, which must hold at the end what it held at the beginning."""
    machine = Machine()
    before = machine.holdings()
    yield machine
    after = machine.holdings()
    assert {kind: after[kind] - before[kind] for kind in after} == {kind: set() for kind in after}
    assert {kind: before[kind] - after[kind] for kind in ("interfaces", "named namespaces", "testbeds")} == {
        kind: set() for kind in ("interfaces", "named namespaces", "testbeds")
    }
