"""A run whose command is killed in its midst: what had ended is in the parquet files, and `testbed report` reads it."""

import json
import subprocess
import sys
import time

import pandas as pd


def test_a_killed_run_keeps_its_jobs_and_is_reported(command, files, tmp_path) -> None:
    topology, workload = files("killed-test", duration="60 s")
    workload.write_text(workload.read_text().replace("rate: 5 /s", "rate: 60 /s"))
    results = tmp_path / "results"
    arguments = ["run", workload, "--topology", topology, "--simulate", "--output", results]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-m", "testbed", *map(str, arguments)], **quiet) as running:
        until_s = time.monotonic() + 100
        while not [rows for rows in results.glob("*/jobs.arrow") if rows.stat().st_size > 100_000]:
            assert running.poll() is None and time.monotonic() < until_s
            time.sleep(0.05)
        running.kill()
    (run,) = results.iterdir()
    assert not (run / "summary.json").exists() and not (run / "jobs.parquet").exists()

    told = json.loads(command("report", run, "--json", check=False).stdout)[str(run)]
    jobs = pd.read_parquet(run / "jobs.parquet")
    assert told["issued"] == len(jobs) > 100 and told["verdict"] == "INVALID"
    assert told["reasons"] == [f"the run did not come to its end; it kept {len(jobs)} rows"]
    assert told["on_time"] == (jobs["outcome"] == "on_time").sum()
    latest_s = jobs[
        "arrival_s"
    ].max()  # all that arrived well before the last one that is there has ended, and is there
    early = jobs.loc[jobs["arrival_s"] < latest_s - 2.0, "job_id"]
    assert early.tolist() == list(range(len(early)))
    assert (run / "links.parquet").exists() and json.loads((run / "manifest.json").read_bytes())["seed"] == 1
