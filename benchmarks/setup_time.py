"""Seconds to bring a star of hosts up and down: ours against stock Mininet's TCLink, in turn on the same machine.

Run as root: `python benchmarks/setup_time.py [--hosts 10 50] [--rounds 3]`. Ours shapes bandwidth, delay, jitter and
loss in both directions, and reads back what was set; stock sets bandwidth alone. Stock runs in a network namespace of
its own, for it would otherwise put its switch ports into the machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
)


def star(hosts: int) -> ResolvedTopology:
    link = LinkParameters(10e6, 0.005, 0.001, 0.005)
    devices = [f"dev{number}" for number in range(1, hosts)]
    return ResolvedTopology(
        "star",
        {"ap1": ResolvedAccessPoint()},
        {"edge1": ResolvedEdge("ap1", Compute())},
        {name: ResolvedDevice(("ap1",), Compute()) for name in devices},
        tuple(ResolvedLink(name, "ap1", link, link) for name in ("edge1", *devices)),
    )


def ours(hosts: int) -> tuple[float, float]:
    from testbed.network.build import EmulatedNetwork
    from testbed.network.ownership import Ownership
    from testbed.network.probe import choose_shaping

    shaping = choose_shaping()
    topology = star(hosts)
    began = time.perf_counter()
    ownership = Ownership.create(f"bench-{os.getpid()}")
    try:
        network = EmulatedNetwork.build(topology, shaping, ownership)
        up = time.perf_counter()
        network.stop()
    finally:
        report = ownership.undo()
    assert not report.failures
    return up - began, time.perf_counter() - up


def stock(hosts: int) -> tuple[float, float]:
    from mininet.link import TCLink
    from mininet.net import Mininet
    from mininet.nodelib import LinuxBridge
    from mininet.topo import SingleSwitchTopo

    Mininet.inited = True  # or it would raise limits of the whole machine
    began = time.perf_counter()
    net = Mininet(topo=SingleSwitchTopo(k=hosts, lopts={"bw": 10}), switch=LinuxBridge, link=TCLink, controller=None)
    net.start()
    up = time.perf_counter()
    net.stop()
    return up - began, time.perf_counter() - up


def in_a_process(which: str, hosts: int) -> tuple[float, float]:
    alone = ["unshare", "--net"] if which == "stock" else []
    command = [*alone, sys.executable, __file__, "--one", which, "--hosts", str(hosts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{which} with {hosts} hosts failed:\n{done.stderr}")
    up, down = json.loads(done.stdout.splitlines()[-1])
    return up, down


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=["ours", "stock"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps((ours if asked.one == "ours" else stock)(asked.hosts[0])))
        return
    print("| hosts | ours up / down | stock TCLink up / down | ratio of up |")
    print("| --- | --- | --- | --- |")
    for hosts in asked.hosts:
        rounds = [(in_a_process("ours", hosts), in_a_process("stock", hosts)) for _ in range(asked.rounds)]
        (up, down), (stock_up, stock_down) = (
            [statistics.median(one[which][part] for one in rounds) for part in (0, 1)] for which in (0, 1)
        )
        print(
            f"| {hosts} | {up:.2f} / {down:.2f} s | {stock_up:.2f} / {stock_down:.2f} s | {up / stock_up:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
