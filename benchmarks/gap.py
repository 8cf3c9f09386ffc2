"""The gap between simulated and emulated runs of the same jobs, rate by rate, and on the poor channel with its losses.

    sudo python benchmarks/gap.py [--rates 0.5 1 2 5 10 20] [--duration 15] [--poor] [--keep DIR]

A star of eight devices is brought up once for each rate. Bounds to hold without loss: median completion within 5 %,
success probability within 3 points. Run it on an otherwise idle machine: what else runs is not simulated.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

from testbed.reporting.difference import Difference, difference
from testbed.reporting.stored_run import StoredRun

TOPOLOGY = """
name: gap
access_points: {{ap1: {{}}}}
edges:
  edge1: {{access_point: ap1, compute: {{gflops: 200}}}}
devices:
  dev: {{count: 8, compute: {{gflops: 5}}}}
links:
  - {{between: [dev*, ap1], bandwidth: {rate:g} Mbit/s, delay: 5 ms, jitter: 1 ms}}
  - {{between: [edge1, ap1], bandwidth: 50 Mbit/s, delay: 0.2 ms}}
"""
WORKLOAD = """
name: gap
duration: {duration:g} s
seed: 1
deadline: 200 ms
arrivals: {{process: poisson, rate: 4 /s}}
offloading: {{policy: [full, {{name: fixed, split: layer2, kept_channels: 16, bits: 4}}, greedy]}}
"""


def both(topology: Path, workload: Path, output: Path) -> Iterator[tuple[str, Difference]]:
    """Runs a workload both ways; each policy, and its simulated run against its emulated one."""
    command = [sys.executable, "-m", "testbed", "run", str(workload), "--topology", str(topology)]
    for way, options in (("emulated", ["--name", "gap"]), ("simulated", ["--simulate"])):
        done = subprocess.run(
            [*command, *options, "--output", str(output / way)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode not in (0, 1):  # 1: INVALID, which the table says
            raise SystemExit(done.stderr)
    emulated, simulated = (
        {run.name.rsplit("-", 1)[1]: StoredRun(run) for run in sorted((output / way).iterdir())}
        for way in ("emulated", "simulated")
    )
    for policy, run in emulated.items():
        yield policy, difference(run, simulated[policy])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="*", default=[0.5, 1, 2, 5, 10, 20], help="Mbit/s")
    parser.add_argument("--duration", type=float, default=15.0, help="seconds of arrivals")
    parser.add_argument("--poor", action="store_true", help="the shipped poor channel, too (ten minutes)")
    parser.add_argument("--keep", type=Path, default=None, help="where the runs are kept")
    asked = parser.parse_args()
    folder = asked.keep or Path(mkdtemp(prefix="gap-"))
    cases = [(f"{rate:g} Mbit/s", TOPOLOGY.format(rate=rate), None) for rate in asked.rates]
    if asked.poor:
        cases.append(("poor channel", Path("topologies/star.yaml").read_text(), Path("workloads/poor_channel.yaml")))
    print(
        "| | policy | median ms, emulated / simulated | gap | on time, emulated / simulated | decided alike | verdict |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, topology, workload in cases:
        own = folder / name.replace(" ", "-").replace("/", "-")
        own.mkdir(parents=True)
        (own / "topology.yaml").write_text(topology)
        (own / "workload.yaml").write_text(WORKLOAD.format(duration=asked.duration))
        for policy, found in both(own / "topology.yaml", workload or own / "workload.yaml", own):
            completion, on_time = found.distributions[0], found.shares[0]
            assert found.paired is not None and completion.change is not None
            print(
                f"| {name} | {policy} | {completion.a:.1f} / {completion.b:.1f} | {100 * completion.change:+.1f} % | "
                f"{100 * (on_time.a or 0):.1f} / {100 * (on_time.b or 0):.1f} % | "
                f"{100 * found.paired.same_decision / found.paired.jobs:.1f} % | {found.verdict_a} |",
                flush=True,
            )
    print(f"runs: {folder}")


if __name__ == "__main__":
    main()
