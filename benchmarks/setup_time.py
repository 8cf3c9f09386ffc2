"""Seconds to bring a star up until every device has pinged the edge, and down: ours against stock Mininet.

Run as root: `python benchmarks/setup_time.py [--hosts 10 50 200 500] [--rounds 3] [--stock]`. Ours shapes bandwidth,
delay, jitter and loss in both directions and reads back what was set; stock (LinuxBridge, TCLink) sets bandwidth alone.
Both run in turn on the same machine, stock in a network namespace of its own, for it would otherwise put its switch
ports into the machine's; beyond 200 devices, where it takes minutes, only with `--stock`. Medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from stars import star

from testbed.documents.resolved import LinkParameters

STOCK_AT_MOST = 200
PINGS_AT_ONCE = 8


def ping_all(pids: Iterable[int], address: str) -> None:
    """Pings the address from each process's network namespace, until it has answered once."""

    def ping(pid: int) -> None:
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", "ping", "-q", "-n", "-c", "1", "-w", "30", address]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(PINGS_AT_ONCE) as pool:
        list(pool.map(ping, pids))


def ours(hosts: int) -> tuple[float, float]:
    from testbed.network.build import EmulatedNetwork
    from testbed.network.ownership import Ownership
    from testbed.network.probe import choose_shaping

    shaping = choose_shaping()
    topology = star(hosts, LinkParameters(10e6, 0.005, 0.001, 0.005))
    began = time.perf_counter()
    ownership = Ownership.create(f"bench-{os.getpid()}")
    try:
        network = EmulatedNetwork.build(topology, shaping, ownership)
        ping_all([network.namespace_pid(name) for name in topology.devices], network.address("edge1"))
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
    topology = SingleSwitchTopo(k=hosts + 1, lopts={"bw": 10})
    net = Mininet(topo=topology, switch=LinuxBridge, link=TCLink, controller=None)
    net.start()
    edge, *devices = net.hosts
    ping_all([device.pid for device in devices], edge.IP())
    up = time.perf_counter()
    net.stop()
    return up - began, time.perf_counter() - up


def in_a_process(which: str, hosts: int) -> tuple[float, float]:
    alone = ["unshare", "--net"] if which == "stock" else []
    command = [*alone, sys.executable, __file__, "--one", which, "--hosts", str(hosts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{which} with {hosts} devices failed:\n{done.stderr}")
    up, down = json.loads(done.stdout.splitlines()[-1])
    return up, down


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 50, 200, 500], help="how many devices")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stock", action="store_true", help=f"stock Mininet beyond {STOCK_AT_MOST} devices too")
    parser.add_argument("--one", choices=["ours", "stock"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps((ours if asked.one == "ours" else stock)(asked.hosts[0])))
        return
    print("| devices | ours up / down, s | per device, ms | stock up / down, s | per device, ms | ratio up / down |")
    print("| --- | --- | --- | --- | --- | --- |")
    for hosts in asked.hosts:
        rivals = ("ours", "stock") if asked.stock or hosts <= STOCK_AT_MOST else ("ours",)
        rounds = [[in_a_process(which, hosts) for which in rivals] for _ in range(asked.rounds)]
        medians = [[statistics.median(parts) for parts in zip(*one, strict=True)] for one in zip(*rounds, strict=True)]
        cells = []
        for up, down in medians:
            cells += [f"{up:.2f} / {down:.2f}", f"{up / hosts * 1e3:.1f} / {down / hosts * 1e3:.1f}"]
        if len(medians) == 2:
            cells.append(" / ".join(f"{own / other:.2f}" for own, other in zip(*medians, strict=True)))
        print(f"| {hosts} | " + " | ".join([*cells, *["-"] * (5 - len(cells))]) + " |", flush=True)


if __name__ == "__main__":
    main()
