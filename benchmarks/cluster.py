"""Jobs per second, lateness of dispatch, overhead per job and memory on one, two and three machines with paced devices.

Run as root on the first machine: `python benchmarks/cluster.py --lab topologies/lab.yaml [--machines 1 2 3]
[--devices 30 100 300] [--rate 1] [--seconds 10]`; without `--lab` the machines are namespaces of this one, each with
an SSH server (Debian: openssh-server), which share its CPUs.

Each machine has an access point with its share of the devices, and the edge of its neighbour's: with several machines
every job crosses between two. One machine is the same without `machines:`. A job's overhead is what it took beyond the
FLOPs over the paces of device and edge, and beyond delay and serialisation of its frames on the links; queues are part
of it, and few, as the devices are idle for most of the time. Memory is by how much what this machine uses rose.

300 devices with a thousand jobs a second in all, on this machine: `--machines 1 --devices 300 --rate 3.34`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the lab that the tests use

POINT = {"split": "layer3", "kept_channels": 16, "bits": 4}
DEVICE_GFLOPS, EDGE_GFLOPS = 50, 5000
DEVICE_LINK, EDGE_LINK = (20e6, 2e-3), (200e6, 1e-3)  # bits per second, one-way delay
FRAMES = 66 + 40  # what an answer has beside its headers, and a request beside its payload, about

Call = Callable[..., subprocess.CompletedProcess[str]]


def topology(machines: dict[str, object], count: int, devices: int) -> dict[str, object]:
    names = list(machines)[:count]
    points = [f"ap{number}" for number in range(1, count + 1)]
    shares = [devices // count + (number < devices % count) for number in range(count)]
    return {
        "name": f"bench-{count}-{devices}",
        "access_points": {name: {} for name in points},
        "edges": {
            f"edge{number}": {"access_point": name, "compute": {"gflops": EDGE_GFLOPS}}
            for number, name in enumerate(points, 1)
        },
        "devices": {
            f"d{number}x": {"count": share, "compute": {"gflops": DEVICE_GFLOPS}}
            for number, share in enumerate(shares, 1)
        },
        "links": [
            {"between": [f"{kind}{number}{rest}", name], "bandwidth": f"{bps / 1e6} Mbit/s", "delay": f"{s * 1e3} ms"}
            for number, name in enumerate(points, 1)
            for kind, rest, (bps, s) in (("d", "x*", DEVICE_LINK), ("edge", "", EDGE_LINK))
        ],
        **(
            {
                "machines": {name: machines[name] for name in names},
                "place": {
                    **dict(zip(points, names, strict=True)),
                    **{f"d{number}x*": name for number, name in enumerate(names, 1)},
                    **{f"edge{number}": names[number % count] for number in range(1, count + 1)},
                },
            }
            if count > 1
            else {}
        ),
    }


def workload(rate: float, seconds: float) -> dict[str, object]:
    return {
        "name": "bench",
        "duration": f"{seconds} s",
        "seed": 1,
        "deadline": "500 ms",
        "arrivals": {"process": "poisson", "rate": f"{rate} /s"},
        "offloading": {"policy": {"name": "fixed", **POINT}},
    }


def ideal_ms(jobs: pd.DataFrame) -> pd.Series:
    """What each job takes by its FLOPs and its links alone."""
    from testbed.aecnn.loading import load_model

    profile = load_model().profile
    assert profile is not None
    (row,) = (
        one
        for one in profile.rows
        if one.option.encoding == "aecnn"
        and (point := one.option.point)
        and [point.split, point.kept_channels, point.bits] == [*POINT.values()]
    )
    flops_s = (row.head_flops + row.encode_flops) / (DEVICE_GFLOPS * 1e9)
    flops_s += (row.decode_flops + row.tail_flops) / (EDGE_GFLOPS * 1e9)
    bits = 8 * (jobs["wire_bytes"] + 2 * FRAMES)  # there and back
    links_s = sum(bits / bps + 2 * delay_s for bps, delay_s in (DEVICE_LINK, EDGE_LINK))
    return 1e3 * (flops_s + links_s)


@contextlib.contextmanager
def reached(lab: Path | None, count: int) -> Iterator[tuple[dict[str, object], Call]]:
    """The machines' document, and what calls the testbed on the first."""
    if lab:
        yield yaml.safe_load(lab.read_text())["machines"], here
        return
    from tests.cluster.lab import Lab

    with Lab(count) as machines:
        cache = {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())}
        driver = machines.driver
        yield machines.document(), lambda *words: driver.testbed(*words, check=False, timeout=1800, env=cache)


def here(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "testbed", *map(str, words)], capture_output=True, text=True)


def measured(call: Call, document: dict[str, object], rate: float, seconds: float) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "topology.yaml").write_text(yaml.safe_dump(document))
        (folder / "workload.yaml").write_text(yaml.safe_dump(workload(rate, seconds)))
        words = [
            "run",
            folder / "workload.yaml",
            "--topology",
            folder / "topology.yaml",
            "--output",
            folder / "results",
        ]
        with memory() as used:
            done = call(*words)
        runs = list((folder / "results").glob("*"))
        if not runs:
            return f"no run: {' | '.join(done.stderr.strip().splitlines()[-2:])}"
        jobs = pd.read_parquet(runs[0] / "jobs.parquet")
        summary = json.loads((runs[0] / "summary.json").read_bytes())
    answered = jobs[jobs["completion_ms"].notna()]
    over = answered["completion_ms"] - ideal_ms(answered)
    late = jobs["dispatch_ms"].dropna()
    quantiles = " ".join(f"{over.quantile(share):7.2f}" for share in (0.1, 0.5, 0.95, 0.99))
    reasons = "" if summary["verdict"] == "VALID" else f"  {'; '.join(summary['reasons'])[:100]}"
    rates = f"{len(answered) / seconds:7.1f} {len(jobs) - len(answered):6}"
    lateness = f"{late.quantile(0.5):7.2f} {late.quantile(0.99):7.2f}"
    return f"{rates} {lateness} {quantiles} {max(used) / 1e9:7.2f}  {summary['verdict']}{reasons}"


@contextlib.contextmanager
def memory() -> Iterator[list[float]]:
    """Bytes that this machine uses more than before the block, every half a second of it."""
    before, found, over = psutil.virtual_memory().used, [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            found.append(psutil.virtual_memory().used - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", type=Path)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--devices", type=int, nargs="+", default=[30, 100, 300])
    parser.add_argument("--rate", type=float, default=1.0, help="jobs per second and device")
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    print("                  answered  lost  dispatched late ms    overhead ms, by share of jobs   memory")
    print("machines devices   jobs/s   jobs     50 %    99 %     10 %    50 %    95 %    99 %      GB")
    with reached(asked.lab, max(asked.machines)) as (machines, call):
        for devices in asked.devices:
            for count in asked.machines:
                told = measured(call, topology(machines, count, devices), asked.rate, asked.seconds)
                print(f"{count:8} {devices:7} {told}", flush=True)


if __name__ == "__main__":
    main()
