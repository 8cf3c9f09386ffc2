"""The data path's overhead: what a job takes beyond the ideal, on a lossless 10 Mbit/s link of 5 ms, otherwise idle.

The ideal is arithmetic: payload bytes over the link's rate plus its delay, and FLOPs over pace for each computation.
Run as root: .venv/bin/python benchmarks/data_path.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from testbed.aecnn.checkpoint import DATA
from testbed.jobs.profile import Profile

RATE_BPS, DELAY_MS = 10e6, 5.0
DEVICE_FLOPS, EDGE_FLOPS = 50e9, 200e9
UPLINK_BOUND = (1.05, 1.0)  # of the ideal, plus ms

TOPOLOGY = """
name: data-path
access_points: {ap1: {}}
edges: {edge1: {access_point: ap1, compute: {gflops: 200}}}
devices: {dev: {compute: {gflops: 50}}}
links:
  - {between: [dev, ap1], bandwidth: 10 Mbit/s, delay: 5 ms}
  - {between: [edge1, ap1], bandwidth: 100 Mbit/s}
"""

WORKLOAD = """
name: data-path
duration: 20 s
deadline: 400 ms
arrivals: {process: periodic, rate: 5 /s}
offloading:
  policy:
    - {name: full, encoding: raw}
    - {name: full, encoding: jpeg}
    - {name: fixed, split: layer3, kept_channels: 16, bits: 4}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "topology.yaml").write_text(TOPOLOGY)
        (folder / "workload.yaml").write_text(WORKLOAD)
        command = [
            sys.executable,
            "-m",
            "testbed",
            "run",
            str(folder / "workload.yaml"),
            "--output",
            str(folder / "runs"),
        ]
        subprocess.run([*command, "--topology", str(folder / "topology.yaml")], check=True, stdout=subprocess.DEVNULL)
        print(f"{'payload':>16} {'bytes':>7} | uplink ms: ideal, p50, p95, in 5 % + 1 ms | job's excess ms: p50, p95")
        for run in sorted((folder / "runs").iterdir()):
            report(pd.read_parquet(run / "jobs.parquet"))


def report(jobs: pd.DataFrame) -> None:
    """One line: the uplink against its ideal, and the whole job against its own."""
    jobs = jobs[jobs["completion_ms"].notna()]
    ideal_ms = jobs["payload_bytes"] * 8 / RATE_BPS * 1e3 + DELAY_MS
    within = (jobs["uplink_ms"] <= UPLINK_BOUND[0] * ideal_ms + UPLINK_BOUND[1]).mean()
    overhead_ms = jobs["completion_ms"] - ideal_ms - DELAY_MS - paced_ms(jobs.iloc[0])
    print(
        f"{jobs['encoding'].iloc[0]:>16} {jobs['payload_bytes'].mean():7.0f} | "
        f"{ideal_ms.mean():8.2f} {jobs['uplink_ms'].median():8.2f} {np.percentile(jobs['uplink_ms'], 95):8.2f} "
        f"{100 * within:6.1f} % | {overhead_ms.median():8.2f} {np.percentile(overhead_ms, 95):8.2f}"
    )


def paced_ms(job: pd.Series) -> float:
    """What the job's computations take at their paces."""
    profile = msgspec.json.decode((DATA / "default.profile.json").read_bytes(), type=Profile)
    (row,) = (
        row
        for row in profile.rows
        if row.option.encoding == job["encoding"]
        and (
            row.option.point is None
            or (row.option.point.split, row.option.point.kept_channels, row.option.point.bits)
            == (job["split"], job["kept_channels"], job["bits"])
        )
    )
    return 1e3 * ((row.head_flops + row.encode_flops) / DEVICE_FLOPS + (row.decode_flops + row.tail_flops) / EDGE_FLOPS)


if __name__ == "__main__":
    main()
