"""A model of one's own, by the command: the example from end to end, and what is refused."""

import importlib
import json
import os
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from testbed.aecnn.photographs import SAMPLE

EXAMPLE = Path(__file__).parents[2] / "examples" / "mobile"
NAME = "own-model-test"
POLICY = "{name: fixed, encoding: mobile, split: block6, kept_channels: 8, bits: 8}"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Every twentieth photograph of the sample, as a zip."""
    path = tmp_path / "few.zip"
    with zipfile.ZipFile(SAMPLE) as whole, zipfile.ZipFile(path, "w") as part:
        for name in sorted(name for name in whole.namelist() if name.endswith(".jpg"))[::20]:
            part.writestr(name, whole.read(name))
    return path


@pytest.fixture
def mobile(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(EXAMPLE)
    yield importlib.import_module("mobile").Mobile()
    sys.modules.pop("mobile")


@pytest.mark.root
@pytest.mark.usefixtures("machine")
def test_the_example_runs_over_a_network(command, files, few: Path, mobile, tmp_path: Path) -> None:
    """The devices take the payloads from the store; the edge computes live."""
    from testbed.aecnn.photographs import open_photographs

    topology, workload = files(NAME, policy=POLICY)
    topology.write_text(topology.read_text().replace("{gflops: 200}", "live"))
    workload.write_text(f"model: {{checkpoint: mobile:Mobile, images: {few}}}\n{workload.read_text()}")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert "ok" in command("validate", workload, topology, cwd=EXAMPLE).stdout
    results = tmp_path / "results"
    command("run", workload, "--topology", topology, "--output", results, cwd=EXAMPLE, env=environment)

    (run,) = results.glob("*-fixed")
    jobs = pd.read_parquet(run / "jobs.parquet")
    answered = jobs[jobs["outcome"].isin(["on_time", "late"])]
    assert len(answered) >= len(jobs) / 2
    assert set(answered["encoding"]) == {"mobile"} and set(answered["split"]) == {"block6"}
    photographs = open_photographs(few, mobile.classes)
    option = mobile.options[-1]
    for job in answered.itertuples():
        payload = mobile.encode(mobile.head(photographs.pixels(job.image), option), option, job.image)
        assert job.payload_bytes == len(payload)
        assert job.predicted == mobile.tail(mobile.decode(payload, option, job.image), option)
    manifest = json.loads((run / "manifest.json").read_bytes())
    assert manifest["workload"]["model"]["checkpoint"] == "mobile:Mobile"
    assert manifest["profile"] == {"images": str(few), "n": len(photographs)}


def test_the_example_is_evaluated(command, few: Path) -> None:
    found = json.loads(command("evaluate", "mobile:Mobile", "--images", few, "--json", cwd=EXAMPLE).stdout)
    assert found["checkpoint"] == "mobile:Mobile"
    split = {point["split"]: point for point in found["points"]}
    assert {None, "block3", "block6"} == set(split)
    assert split["block6"]["payload_mean"] < split["block3"]["payload_mean"] < split[None]["payload_mean"]


def test_a_class_that_cannot_be_run_is_refused_where_it_is_named(command, files, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Mine:\n    head = tail = encode = lambda *_: None\n")
    _, workload = files(NAME)
    workload.write_text(f"model: mine:Mine\n{workload.read_text()}")
    for verb, where in ((("validate", workload), f"{workload}:1:8: model: "), (("evaluate", "mine:Mine"), "")):
        done = command(*verb, cwd=tmp_path, check=False)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"{where}mine:Mine: has no method decode(payload, option, image): write it")


def test_a_runtime_is_for_checkpoints(command, files) -> None:
    _, workload = files(NAME)
    workload.write_text(f"model: {{checkpoint: mine:Mine, runtime: torch}}\n{workload.read_text()}")
    done = command("validate", workload, check=False)
    assert done.returncode == 2
    assert "model: 'mine:Mine' computes by itself, leave `runtime` out" in done.stderr
