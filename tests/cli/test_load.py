"""The maximum load by the command, on the model of a testbed: no root, and a few seconds."""

import json

import pytest


@pytest.fixture
def asked(files):
    topology, workload = files("load-test", policy="local", duration="3 s")
    return ["run", workload, "--topology", topology, "--simulate", "--find-load"]


def test_every_rate_tried_is_told_and_stored(command, asked, tmp_path) -> None:
    done = command(*asked, "--success", "0.5", "--output", tmp_path / "results", cwd=tmp_path)
    (found,) = (tmp_path / "results").glob("*-load.json")
    load = json.loads(found.read_bytes())
    assert load["policy"] == "local" and load["success"] == 0.5 and load["devices"] == 2
    # what takes 140 ms can be done 7 times a second; with so much to do, jobs are late for one that waits before them
    assert 3 < load["rate_per_s"] < load["not_held_per_s"] < 9
    for trial in load["trials"]:
        assert trial["held"] == (trial["success_probability"] >= 0.5)
        assert f"{trial['rate_per_s']:g} /s a device: success {trial['success_probability']:.1%}" in done.stderr
        run = json.loads((tmp_path / "results" / trial["run"] / "manifest.json").read_bytes())
        assert float(run["workload"]["arrivals"]["rate"].removesuffix(" /s")) == trial["rate_per_s"]
        assert run["shaping"] == "simulated"
    assert f"{load['rate_per_s']:g} /s a device" in done.stdout


def test_arrivals_without_a_rate_cannot_be_searched(command, asked, tmp_path) -> None:
    workload = asked[1]
    workload.write_text(workload.read_text().replace("process: poisson, rate: 5 /s", "process: single_stream, jobs: 5"))
    done = command(*asked, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "--find-load: arrivals of the process 'single_stream' have no rate that could be set\n"
