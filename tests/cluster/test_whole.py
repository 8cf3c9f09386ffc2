"""The main job over a lab of three machines, by the command on the first: check, up, status, exec, run, down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

import testbed
from testbed.network.probe import netem_fault
from testbed.network.tunnels import PORT
from tests.cli.conftest import reasons
from tests.cli.test_whole import assert_balanced
from tests.cluster.lab import Lab

pytestmark = pytest.mark.root

NAME = "lab-test"
CACHE = {"XDG_CACHE_HOME": str(Path("~/.cache").expanduser())}  # payloads prepared before serve here too
TOPOLOGY = """
name: lab-test
access_points: {ap1: {}, ap2: {}}
edges:
  edge1: {access_point: ap1, compute: {gflops: 200}}
  edge2: {access_point: ap2, compute: {gflops: 200}}
devices: {dev: {count: 4, compute: {gflops: 5}}}
links:
  - {between: ["dev[1-2]", ap1], bandwidth: 10 Mbit/s, delay: 5 ms}
  - {between: ["dev[3-4]", ap2], bandwidth: 10 Mbit/s, delay: 5 ms}
  - {between: [edge1, ap1], bandwidth: 50 Mbit/s, delay: 3 ms}
  - {between: [edge2, ap2], bandwidth: 50 Mbit/s, delay: 3 ms}
  - {between: [ap1, ap2], bandwidth: 50 Mbit/s, delay: 3 ms}
place: {ap1: lab1, "dev[1-2]": lab1, edge1: lab2, ap2: lab2, "dev[3-4]": lab2, edge2: lab3}
"""
WORKLOAD = """
name: brief-poor-channel
duration: 6 s
seed: 1
deadline: 200 ms
arrivals: {process: poisson, rate: 3 /s}
offloading: {policy: full}
events:
  - {at: 2 s, links: ["dev*", "ap*"], set: {bandwidth: 1 Mbit/s, loss: 3 %}}
  - {at: 4 s, links: ["dev*", "ap*"], restore: true}
"""
PLACED = {"ap1": "lab1", "dev1": "lab1", "dev2": "lab1"}
PLACED |= {"edge1": "lab2", "ap2": "lab2", "dev3": "lab2", "dev4": "lab2", "edge2": "lab3"}


class Told(NamedTuple):
    """What was seen from the first machine, and of all."""

    check: str
    up: str
    status: list[dict]
    pings: dict[str, str]
    exit_status: int
    listening: dict[str, set[str]]  # by machine: addresses and ports while a run went on
    run: Path
    down: str
    left: dict[str, list[str]]


def listening(lab: Lab) -> dict[str, set[str]]:
    """Where something listens in the machines' own namespaces."""
    tables = {machine.name: machine.run("ss", "-H", "-ltun").stdout for machine in lab.machines}
    return {name: {line.split()[4] for line in table.splitlines()} for name, table in tables.items()}


@pytest.fixture(scope="module")
def told(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("whole")
    topology, workload = folder / "lab.yaml", folder / "workload.yaml"
    topology.write_text(f"{TOPOLOGY}machines: {json.dumps(lab.document())}\n")
    workload.write_text(WORKLOAD)
    results = folder / "results"
    check = lab.driver.testbed("machines", "check", topology).stdout
    up = lab.driver.testbed("up", topology).stdout
    try:
        status = json.loads(lab.driver.testbed("status", "--json").stdout)["testbeds"]
        pings = {
            pair[1]: lab.driver.testbed("exec", pair[0], "--", "ping", "-c", "4", "-i", "0.2", pair[1]).stdout
            for pair in (("dev1", "edge2"), ("dev3", "edge1"))
        }
        exit_status = lab.driver.testbed("exec", "edge2", "--", "sh", "-c", "exit 7", check=False).returncode
        argv = [sys.executable, "-m", "testbed", "run", workload, "--output", results]
        running = subprocess.Popen(
            lab.driver.argv("env", *(f"{name}={value}" for name, value in CACHE.items()), *argv),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seen: dict[str, set[str]] = {machine.name: set() for machine in lab.machines}
        while running.poll() is None:
            for name, found in listening(lab).items():
                seen[name] |= found
            time.sleep(1)
        said, _ = running.communicate()
        runs = list(results.glob("*"))
        assert runs, said
    finally:
        down = lab.driver.testbed("down", check=False)
    assert down.returncode == 0, down.stdout + down.stderr
    left = {machine.name: machine.left() for machine in lab.machines}
    yield Told(check, up, status, pings, exit_status, seen, runs[0], down.stdout, left)


def test_all_links_are_certified_those_between_machines_too(told: Told) -> None:
    assert all(f"lab{number}" in told.check for number in (1, 2, 3))
    assert "testbed lab-test is up" in told.up
    certificate = json.loads((told.run / "certificate.json").read_bytes())
    for when in ("before", "after"):
        entries = {(*entry["link"], entry["direction"]): entry for entry in certificate[when]}
        assert len(entries) == 14
        for (a, b, _), entry in entries.items():
            assert entry["measured"]["delay_ms"]["value"] == pytest.approx(entry["asked"]["delay_ms"], abs=1.5)
            assert entry["measured"]["bandwidth_bps"]["value"] == pytest.approx(
                entry["asked"]["bandwidth_bps"], rel=0.1
            )
            assert (entry["clock_error_ms"] > 0) == (PLACED[a] != PLACED[b])


def test_every_node_lies_where_it_was_placed_and_is_reached_from_the_first_machine(told: Told) -> None:
    found = {node["name"]: there["machine"] for there in told.status for node in there["nodes"]}
    assert found == PLACED and all(there["condition"] == "up" for there in told.status)
    for answer in told.pings.values():
        least_ms = float(answer.rsplit("=", 1)[1].split("/")[0])
        assert 21.9 < least_ms < 26  # there and back over 5 + 3 + 3 ms
    assert told.exit_status == 7


def test_the_run_is_accounted_for_on_all_machines(told: Told) -> None:
    jobs = assert_balanced(told.run)
    assert reasons(told.run) == []
    assert set(jobs["device"]) == {"dev1", "dev2", "dev3", "dev4"} and set(jobs["edge"].dropna()) == {"edge1", "edge2"}
    answered = jobs[jobs["outcome"].isin(["on_time", "late"])]
    between = [PLACED[row.device] != PLACED[row.edge] for row in answered.itertuples()]
    assert (answered["clock_error_ms"].notna() == between).all()
    assert (answered["clock_error_ms"].dropna() < 1).all()
    quiet = answered[(answered["arrival_s"] < 1.5) & (answered["edge"].isin(["edge1", "edge2"]))]
    assert (quiet["downlink_ms"] > 7.9).all()  # 3 and 5 ms at the least, by whichever clocks

    manifest = json.loads((told.run / "manifest.json").read_bytes())
    assert set(manifest["machines"]) == {"lab1", "lab2", "lab3"}
    assert sorted(manifest["machines"]["lab2"]["nodes"]) == ["ap2", "dev3", "dev4", "edge1"]
    assert set(manifest["clocks"]) == {"lab2", "lab3"}  # which have this machine's clock
    for clock in manifest["clocks"].values():
        assert abs(clock["offset_s"]) <= clock["error_s"] < 1e-3
    assert all(0 <= event["applied_s"] - event["at_s"] < 0.05 for event in manifest["events"])
    links = pd.read_parquet(told.run / "links.parquet")
    assert len(links[links["t_s"] == 0]) == 14  # each direction once, by the machine that shapes it
    far = links[(links["a"] == "dev3") & (links["direction"] == "up")]
    assert far["bandwidth_bps"].tolist() == [10e6, 1e6, 10e6]


def test_nothing_listens_beyond_loopback_and_the_management_address(told: Told, lab: Lab) -> None:
    for machine in lab.machines:
        found = told.listening[machine.name]
        # The kernel's end of the tunnels has no process, and takes what bears the number of a link of ours alone.
        found = found - {f"0.0.0.0:{PORT}"}
        assert len(found) > 5
        hosts = {where.rpartition(":")[0].removeprefix("[::ffff:").rstrip("]") for where in found}
        assert hosts <= {"127.0.0.1", machine.address}


def test_nothing_is_left_on_any_machine(told: Told) -> None:
    assert all(f"down on lab{number}" in told.down for number in (1, 2, 3))
    assert told.left == {"lab1": [], "lab2": [], "lab3": []}


def test_machines_that_cannot_take_part_are_told_line_by_line_and_nothing_is_started(lab: Lab, tmp_path: Path) -> None:
    other = tmp_path / "testbed"  # the same, and a file more
    other.mkdir()
    for path in Path(testbed.__file__).parent.iterdir():
        (other / path.name).symlink_to(path)
    (other / "more.py").write_text("")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "nobody").touch()
    machines = lab.document()
    machines["lab2"]["known_hosts"] = str(tmp_path / "nobody")
    machines["lab3"]["python"] = str(python)
    topology = tmp_path / "lab.yaml"
    for wrong, told in (
        ({"lab2"}, "lab2 (10.9.0.2): its host key is not known"),
        ({"lab3"}, "lab3 (10.9.0.3): has other software"),
    ):
        document = {name: one if name in wrong else lab.document()[name] for name, one in machines.items()}
        topology.write_text(f"{TOPOLOGY}machines: {json.dumps(document)}\n")
        up = lab.driver.testbed("up", topology, check=False)
        assert up.returncode == 2
        (line,) = up.stderr.strip().splitlines()
        assert line.startswith(told), line
    assert [machine.left() for machine in lab.machines] == [[], [], []]


@pytest.mark.skipif(os.geteuid() != 0 or netem_fault() is None, reason="this kernel has netem")
def test_a_machine_without_the_driver_s_shaping_is_refused_by_name(lab: Lab, tmp_path: Path) -> None:
    topology = tmp_path / "lab.yaml"
    topology.write_text(f"{TOPOLOGY}machines: {json.dumps(lab.document())}\n")
    gather = (
        "import sys; from pathlib import Path; from testbed.cli.topologies import resolved; "
        "from testbed.cluster.gathering import gathered; from testbed.network.shape import Shaping; "
        "gathered(resolved(Path(sys.argv[1]), None), Shaping.NETEM).__enter__()"
    )
    done = lab.driver.run(sys.executable, "-c", gather, topology, check=False)
    lines = done.stderr.strip().splitlines()[-2:]
    assert "lab2 (10.9.0.2): require failed: this kernel cannot shape links by netem: " in lines[0]
    assert lines[1].startswith("lab3 (10.9.0.3): require failed: ") and "use --shaping relay" in lines[1]
