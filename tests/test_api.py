"""The testbed from Python: from a topology to a figure by the example, and what its runs are."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import testbed
from testbed.documents.errors import DocumentErrors

EXAMPLE = Path(__file__).parents[1] / "examples" / "sweep" / "sweep.py"
TOPOLOGY = {
    "name": "api",
    "access_points": {"ap1": {}},
    "edges": {"edge1": {"access_point": "ap1", "compute": {"gflops": 200}}},
    "devices": {"dev": {"count": 2, "compute": {"gflops": 5}}},
    "links": [
        {"between": ["dev*", "ap1"], "bandwidth": "10 Mbit/s"},
        {"between": ["edge1", "ap1"], "bandwidth": "1 Gbit/s"},
    ],
}
WORKLOAD = {
    "name": "api",
    "duration": "3 s",
    "deadline": "200 ms",
    "arrivals": {"process": "poisson", "rate": "5 /s"},
    "classes": {"urgent": {"share": "50 %", "deadline": "100 ms"}},
    "offloading": {"policy": ["local", "full"]},
}


def example(folder: Path, *arguments: str) -> None:
    command = [sys.executable, EXAMPLE, "--output", folder, "--seconds", "3", *arguments]
    subprocess.run([str(word) for word in command], check=True, timeout=240, cwd=folder, stdin=subprocess.DEVNULL)


@pytest.mark.root
def test_the_example_goes_from_a_topology_to_a_figure(tmp_path) -> None:
    example(tmp_path, "--uplink", "2 Mbit/s")
    assert (tmp_path / "sweep.svg").read_text().count("deadline") >= 1
    table = pd.read_csv(tmp_path / "sweep.csv")
    assert table["policy"].tolist() == ["local", "full", "greedy"] and (table["uplink"] == "2 Mbit/s").all()
    assert table.set_index("policy")["median_ms"].between(20, 1000).all()
    runs = {run.policy: run for run in map(testbed.Run, tmp_path.glob("*-sweep-*"))}
    assert set(runs) == {"local", "full", "greedy"}
    for run in runs.values():
        assert run.manifest["shaping"] in ("relay", "netem") and len(run.links) == 6
        assert len(run.jobs) == run.summary.issued > 0
        assert run.jobs["arrival_s"].tolist() == runs["local"].jobs["arrival_s"].tolist()


def test_runs_of_the_model_are_frames(tmp_path) -> None:
    topology = testbed.read_topology(TOPOLOGY)
    local, full = testbed.simulate(topology, testbed.read_workload(WORKLOAD, topology).at_rate(2), output=tmp_path)
    assert (local.policy, full.policy) == ("local", "full") and local.slots is None
    assert set(local.jobs["job_class"].dropna()) == {"urgent"}
    assert set(local.jobs["deadline_ms"]) == {100.0, 200.0}
    assert [each.job_class for each in local.summary.classes] == ["urgent", None]
    assert local.summary.classes[0].on_time == 0  # 140 ms
    assert repr(full) == f"<Run {full.path}: VALID>" and testbed.Run(full.path).jobs.equals(full.jobs)


def test_what_is_wrong_is_told_with_its_place() -> None:
    with pytest.raises(DocumentErrors, match=r"<topology>:\d+:\d+: links"):
        testbed.read_topology({**TOPOLOGY, "links": [{"between": ["dev*", "ap2"], "bandwidth": "1 Mbit/s"}]})
    topology = testbed.read_topology(TOPOLOGY)
    workload = {**WORKLOAD, "arrivals": {"process": "trace", "times": {"phone": ["1 s"]}}}
    with pytest.raises(DocumentErrors, match="no device matches 'phone'"):
        testbed.read_workload(workload, topology)
    with pytest.raises(ValueError, match="no device matches 'phone'"):
        testbed.simulate(topology, testbed.read_workload(workload))
    with pytest.raises(AttributeError, match="no attribute 'Topologie'"):
        _ = testbed.Topologie
