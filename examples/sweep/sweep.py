"""From a topology to a figure: how the devices' uplink decides between computing locally and offloading.

    sudo .venv/bin/python examples/sweep/sweep.py            # on an emulated network
    .venv/bin/python examples/sweep/sweep.py --simulate      # on a model of it, without root

Each policy's jobs are run over uplinks of several rates; `sweep.svg` has the completion times of all jobs beside the
deadline, and `sweep.csv` a row for each rate and policy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import pandas as pd

import testbed

POLICIES = ["local", "full", "greedy"]


def topology(uplink: str) -> testbed.Topology:
    """Two devices that reach an edge over an access point, with so much uplink each."""
    return testbed.read_topology(
        {
            "name": "sweep",
            "access_points": {"ap1": {}},
            "edges": {"edge1": {"access_point": "ap1", "compute": {"gflops": 200}}},
            "devices": {"dev": {"count": 2, "compute": {"gflops": 5}}},
            "links": [
                {"between": ["dev*", "ap1"], "bandwidth": "10 Mbit/s", "delay": "5 ms", "up": {"bandwidth": uplink}},
                {"between": ["edge1", "ap1"], "bandwidth": "100 Mbit/s", "delay": "0.2 ms"},
            ],
        }
    )


def workload(seconds: int) -> testbed.Workload:
    """Poisson arrivals, the same for every policy and rate."""
    return testbed.read_workload(
        {
            "name": "sweep",
            "duration": f"{seconds} s",
            "seed": 1,
            "deadline": "200 ms",
            "arrivals": {"process": "poisson", "rate": "2 /s"},
            "offloading": {"policy": POLICIES},
        }
    )


def sweep(uplinks: list[str], seconds: int, simulate: bool, output: Path) -> pd.DataFrame:
    """The jobs of all runs, with the `uplink` that they had."""
    ledgers = []
    for uplink in uplinks:
        if simulate:
            runs = testbed.simulate(topology(uplink), workload(seconds), output=output)
        else:
            with testbed.Testbed.up(topology(uplink)) as bed:
                runs = bed.run(workload(seconds), output=output)
        for run in runs:
            print(f"{uplink}, {run.policy}: {run.summary.success_probability:.1%} on time, {run.summary.verdict}")
            ledgers.append(run.jobs.assign(uplink=uplink))
    return pd.concat(ledgers, ignore_index=True)


def draw(jobs: pd.DataFrame, file: Path) -> None:
    """Boxes of completion times, by uplink and policy; a line where the deadline is."""
    mpl.use("svg")
    from matplotlib import pyplot as plt

    uplinks = list(dict.fromkeys(jobs["uplink"]))
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for number, policy in enumerate(POLICIES):
        own = jobs[(jobs["policy"] == policy) & jobs["completion_ms"].notna()]
        boxes = axes.boxplot(
            [own.loc[own["uplink"] == uplink, "completion_ms"].astype(float) for uplink in uplinks],
            positions=[place + 0.25 * (number - 1) for place in range(len(uplinks))],
            widths=0.2,
            showfliers=False,
            patch_artist=True,
        )
        for box in boxes["boxes"]:
            box.set(facecolor=f"C{number}", label=policy if box is boxes["boxes"][0] else None)
        plt.setp(boxes["medians"], color="black")
    axes.axhline(float(jobs["deadline_ms"].iloc[0]), color="black", linestyle=":", label="deadline")
    axes.set_xticks(range(len(uplinks)), uplinks)
    axes.set(xlabel="uplink", ylabel="completion time (ms)", yscale="log")
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.15), frameon=False)
    figure.savefig(file)


def main() -> None:
    """Run the sweep and keep what it gives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uplink", nargs="+", default=["100 kbit/s", "1 Mbit/s", "10 Mbit/s"])
    parser.add_argument("--seconds", type=int, default=20, help="how long each run lasts")
    parser.add_argument("--simulate", action="store_true", help="on a model, without network and root")
    parser.add_argument("--output", type=Path, default=Path("results"), help="where runs, figure and table go")
    asked = parser.parse_args()
    jobs = sweep(asked.uplink, asked.seconds, asked.simulate, asked.output)
    on_time = (jobs["outcome"] == "on_time").groupby([jobs["uplink"], jobs["policy"]], sort=False).mean()
    medians = jobs.groupby(["uplink", "policy"], sort=False)["completion_ms"].median()
    pd.DataFrame({"on_time": on_time, "median_ms": medians}).to_csv(asked.output / "sweep.csv")
    draw(jobs, asked.output / "sweep.svg")
    print(f"{asked.output / 'sweep.svg'}, {asked.output / 'sweep.csv'}")


if __name__ == "__main__":
    main()
