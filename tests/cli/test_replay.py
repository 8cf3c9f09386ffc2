"""A simulated run by the command, and runs repeated from their manifests: simulated, and on a real network."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

SAME = ["device", "image", "arrival_s", "decision", "encoding", "split", "kept_channels", "bits", "edge", "label"]


def only(folder: Path, pattern: str = "*") -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_a_simulated_run_needs_no_network_and_repeats_to_the_last_digit(command, files, tmp_path) -> None:
    topology, workload = files("sim-test", policy="[fixed_here, greedy]")
    workload.write_text(workload.read_text().replace("fixed_here", "{name: full, encoding: jpeg}"))
    command("run", workload, "--topology", topology, "--simulate", "--output", tmp_path / "runs")
    assert not Path("/run/testbed/sim-test").exists()
    run = only(tmp_path / "runs", "*-full")
    manifest = json.loads((run / "manifest.json").read_bytes())
    assert manifest["shaping"] == "simulated"
    assert json.loads((run / "summary.json").read_bytes())["verdict"] == "VALID"
    for file in (topology, workload):
        file.unlink()  # the manifest alone is enough
    said = command("replay", run, "--output", tmp_path / "again").stdout
    again = only(tmp_path / "again")
    pd.testing.assert_frame_equal(pd.read_parquet(run / "jobs.parquet"), pd.read_parquet(again / "jobs.parquet"))
    assert "(100.0 %) decided alike" in said and "topology" not in said
    found = json.loads(command("diff", run, only(tmp_path / "runs", "*-greedy"), "--json").stdout)
    assert [one["name"] for one in found["configuration"]] == ["policy.name", "policy.options.encoding"]


@pytest.mark.root
@pytest.mark.usefixtures("machine")
def test_a_run_repeated_on_a_real_network_has_the_same_jobs_decisions_and_answers(command, files, tmp_path) -> None:
    topology, workload = files("replay-test", policy="{name: fixed, split: layer3, kept_channels: 16, bits: 4}")
    command("run", workload, "--topology", topology, "--simulate", "--output", tmp_path / "runs")
    run = only(tmp_path / "runs")
    manifest = json.loads((run / "manifest.json").read_bytes())
    (run / "manifest.json").write_text(json.dumps({**manifest, "shaping": "auto"}))
    command("replay", run, "--output", tmp_path / "again")
    again = only(tmp_path / "again")
    assert json.loads((again / "manifest.json").read_bytes())["shaping"] in ("relay", "netem")
    model, real = (pd.read_parquet(path / "jobs.parquet") for path in (run, again))
    pd.testing.assert_frame_equal(model[SAME], real[SAME])
    both = model["predicted"].notna() & real["predicted"].notna()
    assert both.sum() > 0.8 * len(model) and (model.loc[both, "predicted"] == real.loc[both, "predicted"]).all()
    assert (model["wire_bytes"] - real["wire_bytes"])[both].abs().max() <= 2
    on_time = [(jobs["outcome"] == "on_time").mean() for jobs in (model, real)]
    low, high = json.loads((again / "summary.json").read_bytes())["success_interval"]
    assert low <= on_time[0] <= high


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (None, "no such folder"),
        ({}, "has no 'topology'"),
        ({"topology": {"name": "x"}, "policy": {}, "workload": {}}, "another version"),
    ],
)
def test_what_cannot_be_repeated_is_refused_in_a_line(command, tmp_path, manifest, reason) -> None:
    run = tmp_path / "run"
    if manifest is not None:
        run.mkdir()
        (run / "manifest.json").write_text(json.dumps(manifest))
        (run / "jobs.arrow").touch()
    done = command("replay", run, check=False)
    assert done.returncode == 2 and reason in done.stderr and done.stderr.count(os.linesep) == 1
