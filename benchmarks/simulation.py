"""How much faster than real time a simulated run is: thousands of devices around many access points with an edge each.

    python benchmarks/simulation.py [--devices 10000] [--rate 0.1] [--duration 60] [--policy greedy]

The store of payloads must hold the sample's photographs: any paced or simulated run prepares them.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
)
from testbed.documents.workload import Workload
from testbed.workload.inputs import draw_inputs, prepare_payloads
from testbed.workload.simulated import simulate_series

DEVICES_OF_ONE = 100


def topology(devices: int) -> ResolvedTopology:
    """So many devices of 5 GFLOP/s, a hundred to an access point, each with an edge of 2,000 GFLOP/s."""
    cells = range(1, -(-devices // DEVICES_OF_ONE) + 1)
    cell_of = {f"dev{number}": f"ap{1 + (number - 1) // DEVICES_OF_ONE}" for number in range(1, devices + 1)}
    air, wire = LinkParameters(5e6, 0.005, 0.001, 0.005), LinkParameters(100e6, 0.0002)
    return ResolvedTopology(
        name="many",
        access_points={f"ap{cell}": ResolvedAccessPoint() for cell in cells},
        edges={f"edge{cell}": ResolvedEdge(f"ap{cell}", Compute(2e12)) for cell in cells},
        devices={name: ResolvedDevice((access_point,), Compute(5e9)) for name, access_point in cell_of.items()},
        links=(
            *(ResolvedLink(name, access_point, air, air) for name, access_point in cell_of.items()),
            *(ResolvedLink(f"edge{cell}", f"ap{cell}", wire, wire) for cell in cells),
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=0.1, help="jobs per second and device")
    parser.add_argument("--duration", type=float, default=60.0, help="simulated seconds")
    parser.add_argument("--policy", default="greedy")
    asked = parser.parse_args()
    workload = Workload.model_validate(
        {
            "name": "many",
            "duration": f"{asked.duration:g} s",
            "seed": 1,
            "deadline": "200 ms",
            "arrivals": {"process": "poisson", "rate": f"{asked.rate:g} /s"},
            "offloading": {"policy": asked.policy},
        }
    )
    plan = topology(asked.devices)
    began_s, used_s = time.perf_counter(), time.process_time()
    inputs = draw_inputs(workload, plan, workload.seed, lambda share: None)
    prepare_payloads(workload, plan, inputs, lambda share: None, simulated=True)
    drawn_s = time.perf_counter()
    with TemporaryDirectory() as folder:
        (stored,) = simulate_series(
            plan, workload, workload.seed, inputs, Path(folder), lambda step: None, lambda standing: None
        )
        summary = stored.summary
    ended_s = time.perf_counter()
    used_s = time.process_time() - used_s
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took_s = ended_s - began_s
    print(f"{asked.devices} devices, {len(inputs.jobs)} jobs in {asked.duration:g} s simulated, {asked.policy}")
    print(
        f"drawn in {drawn_s - began_s:.1f} s, simulated and stored in {ended_s - drawn_s:.1f} s, {memory_mib:.0f} MiB"
    )
    print(
        f"{asked.duration / took_s:.2f} times real time; {asked.duration / used_s:.2f} by its CPU time, {used_s:.1f} s"
    )
    print(f"{summary.verdict}, {summary.on_time} on time")


if __name__ == "__main__":
    main()
