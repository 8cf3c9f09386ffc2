"""The main job from end to end, by the command: up, exec, run, down."""

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from testbed.jobs.ledger import STAGES
from tests.cli.conftest import PAIR, call

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("machine")]

NAME = "pair-test"


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def assert_balanced(run: Path) -> pd.DataFrame:
    """The ledger adds up, whatever happened."""
    jobs, summary = pd.read_parquet(run / "jobs.parquet"), json.loads((run / "summary.json").read_bytes())
    assert summary["issued"] == len(jobs) == jobs["job_id"].nunique() > 0
    assert summary["issued"] == sum(summary[outcome] for outcome in ("on_time", "late", "failed", "dropped"))
    answered = jobs[jobs["outcome"].isin(["on_time", "late"])]
    stages = answered[[f"{stage}_ms" for stage in STAGES]]
    assert (stages >= 0).all().all()
    assert ((stages.sum(axis=1) - answered["completion_ms"]).abs() < 0.1).all()
    assert ((answered["completion_ms"] <= answered["deadline_ms"]) == (answered["outcome"] == "on_time")).all()
    assert jobs.loc[~jobs["outcome"].isin(["on_time", "late"]), "error"].notna().all()
    return jobs


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A testbed that several tests use, by what the command said of it."""
    topology = tmp_path_factory.mktemp("up") / f"{NAME}.yaml"
    topology.write_text(PAIR.format(name=NAME))
    told = call("up", topology).stdout
    try:
        yield told
    finally:
        call("down", NAME)


def test_up_exec_run_down(command, files, machine, tmp_path) -> None:
    name = "whole-test"
    topology, workload = files(name, policy="[local, {name: fixed, split: layer3, kept_channels: 16, bits: 4}, greedy]")
    before = machine.holdings()
    up = command("up", topology)
    assert "dev1 > ap1" in up.stdout and "up" in up.stdout
    try:
        held = machine.holdings()
        assert held["interfaces"] == before["interfaces"] and held["named namespaces"] == before["named namespaces"]
        status = json.loads(command("status", name, "--json").stdout)
        assert {"dev1", "dev2", "edge1", "ap1"} <= set(json.dumps(status).replace('"', " ").split())
        ping = command("exec", "--name", name, "dev1", "--", "ping", "-c", "5", "-i", "0.2", "edge1").stdout
        assert float(ping.rsplit("=", 1)[1].split("/")[0]) >= 10.4  # least round trip in ms: twice 5.2
        assert command("exec", "--name", name, "dev1", "--", "sh", "-c", "exit 7", check=False).returncode == 7

        done = command("run", workload, "--name", name, "--output", tmp_path / "results")
        assert "greedy" in done.stdout
        runs = {path.name.rsplit("-", 1)[1]: path for path in (tmp_path / "results").iterdir()}
        assert set(runs) == {"local", "fixed", "greedy"}
        verdicts = {json.loads((run / "summary.json").read_bytes())["verdict"] for run in runs.values()}
        assert "VALID" in verdicts  # one that nobody disturbed
        ledgers = {policy: assert_balanced(run) for policy, run in runs.items()}
        same = ["job_id", "device", "image", "arrival_s", "label"]
        for ledger in ledgers.values():
            pd.testing.assert_frame_equal(ledger[same], ledgers["local"][same])
        assert (ledgers["local"]["payload_bytes"] == 0).all()
        fixed = ledgers["fixed"][ledgers["fixed"]["outcome"] == "on_time"]
        assert set(fixed["split"]) == {"layer3"} and (fixed["payload_bytes"] > 50).all()
        for policy, run in runs.items():
            certificate = json.loads((run / "certificate.json").read_bytes())
            assert len(certificate["before"]) == len(certificate["after"]) == 6
            assert [(*entry["link"], entry["direction"]) for entry in certificate["bytes"]] == [
                (node, "ap1", direction) for node in ("dev1", "dev2", "edge1") for direction in ("up", "down")
            ]
            assert all(entry["ok"] for entry in certificate["bytes"])
            assert policy != "fixed" or all(entry["carried_bytes"] > 1000 for entry in certificate["bytes"])
            manifest = json.loads((run / "manifest.json").read_bytes())
            assert manifest["seed"] == 1 and len(manifest["checkpoint_sha256"]) == 64
            assert len(pd.read_parquet(run / "links.parquet")) == 6
            assert "</html>" in (run / "report.html").read_text()
    finally:
        command("down", name)


def test_an_edge_killed_in_mid_run_fails_jobs_with_a_reason_and_comes_back(command, files, tmp_path) -> None:
    topology, workload = files(NAME, policy="[full, greedy]", events="[{at: 1 s, kill: edge1}]")
    command("run", workload, "--topology", topology, "--output", tmp_path / "results")
    full = assert_balanced(only(tmp_path / "results", "*-full"))
    assert (full.loc[full["arrival_s"] < 0.8, "outcome"] == "on_time").all()
    after = full[full["arrival_s"] > 1.0]
    assert len(after) > 0 and after["outcome"].isin(["failed", "dropped"]).all()
    assert after["error"].str.contains("edge").all()
    greedy = assert_balanced(only(tmp_path / "results", "*-greedy"))  # the second run found the edge alive again
    assert (greedy.loc[greedy["arrival_s"] < 0.8, "decision"] != "local").any()
    assert (greedy.loc[greedy["arrival_s"] > 1.1, "decision"] == "local").all()


@pytest.mark.usefixtures("up")
def test_the_same_workload_and_seed_give_the_same_run(command, files, tmp_path) -> None:
    _, workload = files(NAME, policy="random")
    for number in (1, 2):
        command("run", workload, "--name", NAME, "--output", tmp_path / str(number))
    first, second = (assert_balanced(only(tmp_path / number, "*-random")) for number in "12")
    replayed = ["device", "image", "arrival_s", "decision", "encoding", "split", "kept_channels", "bits", "edge"]
    pd.testing.assert_frame_equal(first[replayed], second[replayed])
    both = first["predicted"].notna() & second["predicted"].notna()
    assert both.sum() > 0.8 * len(first)
    assert (first.loc[both, "predicted"] == second.loc[both, "predicted"]).all()


@pytest.mark.usefixtures("up")
def test_events_change_the_links_and_the_run_puts_them_back_as_it_found_them(command, files, tmp_path) -> None:
    poor = "{at: 0.5 s, links: [dev*, ap1], set: {bandwidth: 1 Mbit/s, loss: 3 %}}"
    events = f"[{poor}, {{at: 1.5 s, links: [dev1, ap1], restore: true}}]"
    _, workload = files(NAME, policy="full", events=events)
    command("link", "--name", NAME, "dev2", "ap1", "--set", "bandwidth=2Mbit/s", "--direction", "up")
    command("run", workload, "--name", NAME, "--output", tmp_path / "results")
    run = only(tmp_path / "results", "*-full")
    assert_balanced(run)
    links = pd.read_parquet(run / "links.parquet")
    dev2 = links[(links["a"] == "dev2") & (links["direction"] == "up")]
    assert dev2["bandwidth_bps"].tolist() == [2e6, 1e6] and dev2["loss"].tolist() == [0, 0.03]
    assert dev2["t_s"].tolist() == pytest.approx([0, 0.5], abs=0.05) and dev2["t_s"].iloc[1] >= 0.5
    dev1 = links[(links["a"] == "dev1") & (links["direction"] == "down")]
    assert dev1["bandwidth_bps"].tolist() == [10e6, 1e6, 10e6]
    happened = json.loads((run / "manifest.json").read_bytes())["events"]
    assert [(event["at_s"], event["what"]) for event in happened] == [
        (0.5, "set 2 links"),
        (1.5, "restore dev1-ap1"),
    ]
    assert all(0 <= event["applied_s"] - event["at_s"] < 0.05 for event in happened)
    certificate = json.loads((run / "certificate.json").read_bytes())
    asked = {(*entry["link"], entry["direction"]): entry["asked"] for entry in certificate["after"]}
    assert asked["dev2", "ap1", "up"]["bandwidth_bps"] == 2e6 and asked["dev2", "ap1", "down"]["bandwidth_bps"] == 10e6
