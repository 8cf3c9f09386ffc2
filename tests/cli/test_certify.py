"""`testbed certify`: the thorough certificate of a testbed that is up, by the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("machine")]

NAME = "certify-test"
PAIR = """
name: {name}
tolerance: {{delay: {delay}}}
access_points: {{ap1: {{}}}}
edges: {{edge1: {{access_point: ap1, compute: {{gflops: 200}}}}}}
devices: {{dev: {{count: 1, compute: {{gflops: 5}}}}}}
links:
  - between: [dev*, ap1]
    bandwidth: 10 Mbit/s
    delay: 5 ms
    channel: {{process: gilbert_elliott, loss: 2 %, burst: 4}}
  - {{between: [edge1, ap1], bandwidth: 100 Mbit/s, delay: 1 ms, queue: 50 kB}}
"""


def test_certify_measures_thoroughly_and_says_what_misses(command, tmp_path) -> None:
    topology = tmp_path / "pair.yaml"
    topology.write_text(PAIR.format(name=NAME, delay="2 ms"))
    command("up", topology)
    try:
        refused = command("link", "--name", NAME, "dev1", "ap1", "--set", "loss=90%", check=False)
        assert refused.returncode == 2 and "cannot come in bursts of 4" in refused.stderr
        done = command("certify", NAME, check=False)
        assert "s left" in done.stderr and "edge1 > ap1" in done.stdout and "lost in a row" in done.stdout
        assert done.returncode == (1 if "MISS" in done.stdout else 0)
        stored = json.loads(Path(f"/run/testbed/{NAME}/certificate.json").read_bytes())
        entries = {(*entry["link"], entry["direction"]): entry for entry in stored["before"]}
        assert set(entries) == {(a, "ap1", which) for a in ("dev1", "edge1") for which in ("up", "down")}
        for (a, *_), entry in entries.items():
            measured = entry["measured"]
            if a == "dev1":
                assert entry["asked"]["burst"] == 4 and 3 < measured["burst"]["value"] < 5
                assert measured["loss"]["high"] - measured["loss"]["low"] < 0.02
            else:
                assert entry["asked"]["queue_bytes"] == 50_000 and measured["burst"] is None
                queue = measured["queue_bytes"]  # which a busy machine may not fill
                assert 40_000 < queue["value"] < 65_000 if queue else "queue could not be measured" in entry["reason"]
            assert entry["tolerance"]["delay_ms"] == 2
    finally:
        command("down", NAME)
