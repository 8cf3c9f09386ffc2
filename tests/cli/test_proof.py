"""That a run tells of links it cannot vouch for, by the real command."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.root
NAME = "proof-test"


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def certificate(run: Path) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = json.loads((run / "certificate.json").read_bytes())
    return found


def test_every_byte_of_a_run_is_accounted_for(command, files, tmp_path) -> None:
    topology, workload = files(NAME, policy="full")
    done = command("run", workload, "--topology", topology, "--output", tmp_path / "results", check=False)
    assert done.returncode in (0, 1), done.stderr  # a busy machine may miss a link's tolerance
    run = only(tmp_path / "results")
    entries = certificate(run)["bytes"]
    assert [(*entry["link"], entry["direction"]) for entry in entries] == [
        (node, "ap1", direction) for node in ("dev1", "dev2", "edge1") for direction in ("up", "down")
    ]
    assert all(entry["ok"] and entry["carried_bytes"] > 1000 for entry in entries)


def test_strange_traffic_and_links_out_of_tolerance_make_a_run_invalid(command, files, tmp_path) -> None:
    topology, workload = files(NAME, policy="full")
    topology.write_text(topology.read_text() + "tolerance: {delay: 0.1 us}\n")
    arguments = ["run", workload, "--topology", topology, "--output", tmp_path / "results"]
    begun = subprocess.Popen([sys.executable, "-m", "testbed", *map(str, arguments)], stdout=subprocess.DEVNULL)
    while not Path(f"/run/testbed/{NAME}/certificate.json").exists():
        assert begun.poll() is None
        time.sleep(0.05)
    ping = ["exec", "--name", NAME, "dev1", "--", "ping", "-q", "-i", "0.01", "-s", "1000", "edge1"]
    stranger = subprocess.Popen([sys.executable, "-m", "testbed", *ping], stdout=subprocess.DEVNULL)
    assert begun.wait() == 1
    stranger.wait()  # with the testbed
    run = only(tmp_path / "results")
    summary = json.loads((run / "summary.json").read_bytes())
    assert summary["verdict"] == "INVALID"
    assert any(reason.startswith("before the run, ") and ", asked 5.000" in reason for reason in summary["reasons"])
    assert any(reason.startswith("after the run, ") for reason in summary["reasons"])
    assert any("dev1-ap1 up: " in reason and "are not this run's" in reason for reason in summary["reasons"])
    found = {(*entry["link"], entry["direction"]) for entry in certificate(run)["bytes"] if entry["ok"] is False}
    assert {(node, "ap1", way) for node in ("dev1", "edge1") for way in ("up", "down")} <= found
    assert not {("dev2", "ap1", "up"), ("dev2", "ap1", "down")} & found
