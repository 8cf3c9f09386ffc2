"""That a run tells of bytes which are not its own, by the real command."""

import json
import subprocess
import sys
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


def test_strange_traffic_makes_a_run_invalid(command, files, tmp_path) -> None:
    topology, workload = files(NAME, policy="full")
    arguments = ["run", workload, "--topology", topology, "--output", tmp_path / "results"]
    begun = subprocess.Popen(
        [sys.executable, "-m", "testbed", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert begun.stderr and any("run 1 of 1" in line for line in begun.stderr)  # its links are certified
    ping = ["exec", "--name", NAME, "dev1", "--", "ping", "-q", "-c", "300", "-i", "0.01", "-s", "1000", "edge1"]
    command(*ping)
    begun.stderr.read()
    assert begun.wait() == 1
    run = only(tmp_path / "results")
    summary = json.loads((run / "summary.json").read_bytes())
    assert summary["verdict"] == "INVALID"
    assert any("dev1-ap1 up: " in reason and "are not this run's" in reason for reason in summary["reasons"])
    found = {(*entry["link"], entry["direction"]) for entry in certificate(run)["bytes"] if entry["ok"] is False}
    assert {(node, "ap1", way) for node in ("dev1", "edge1") for way in ("up", "down")} <= found
    assert not {("dev2", "ap1", "up"), ("dev2", "ap1", "down")} & found
