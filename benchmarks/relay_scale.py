"""The relay with many links at once: each link's rate, the CPU it takes, and a round trip beside busy cores.

Run as root: `python benchmarks/relay_scale.py [--links 100] [--rate 2] [--seconds 10]`. Every link is saturated by an
iperf3 flow from its device to the access point; its rate is what the relays delivered, at the IP layer. The round trip
is measured by `ping` over one more link of the same kind, which carries nothing else, with every core kept busy. On a
virtual machine the host may take cores away for milliseconds, which nothing in it can help: the round trips during
which none was missing are told apart.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import statistics
import subprocess
import time
from collections.abc import Iterator

from busy import absences, busy_cores, cpu_seconds
from stars import star

from testbed.documents.resolved import LinkParameters
from testbed.network.build import EmulatedNetwork
from testbed.network.ownership import Ownership
from testbed.network.shape import Shaping


@contextlib.contextmanager
def flows(network: EmulatedNetwork, devices: list[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """TCP flows that send what they can, from each of some devices to the access point: the processes that send."""

    def iperf(node: str, *arguments: object) -> subprocess.Popen[bytes]:
        argv = ["nsenter", f"--net=/proc/{network.namespace_pid(node)}/ns/net", "iperf3", *map(str, arguments)]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ends.callback(process.wait)
        ends.callback(process.kill)
        return process

    with contextlib.ExitStack() as ends:
        ports = dict(zip(devices, itertools.count(5201)))
        for port in ports.values():
            iperf("ap1", "--server", "--one-off", "--port", port)
        time.sleep(3)  # until all listen
        to = network.address("ap1")
        senders = [iperf(name, "--client", to, "--port", port, "--time", 3600) for name, port in ports.items()]
        time.sleep(4)  # until every queue is full
        yield senders


def round_trips(network: EmulatedNetwork, device: str, count: int) -> tuple[list[float], list[float]]:
    """Round trips between a device and the access point in ms, sorted; and those of them during which, and for 50 ms
    before, all cores were there.
    """
    argv = ["ping", "-D", "-n", "-i", "0.02", "-c", str(count), network.address("ap1")]
    # at real-time priority, or it would measure how late it is itself beside busy cores
    inside = ["chrt", "--fifo", "30", "nsenter", f"--net=/proc/{network.namespace_pid(device)}/ns/net", *argv]
    with absences() as absent:
        said = subprocess.run(inside, capture_output=True, text=True, check=True).stdout
    found = [(float(at), float(ms)) for at, ms in re.findall(r"^\[([0-9.]+)\].*time=([0-9.]+) ms", said, re.MULTILINE)]
    undisturbed = [
        ms for at, ms in found if not any(began < at and ended > at - ms / 1e3 - 0.05 for began, ended in absent)
    ]
    return sorted(ms for _, ms in found), sorted(undisturbed)


def percentiles(times: list[float]) -> str:
    p50, p99 = (times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2.0, help="Mbit/s")
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    ownership = Ownership.create(f"bench-{os.getpid()}")
    try:
        network = EmulatedNetwork.build(
            star(asked.links, LinkParameters(asked.rate * 1e6, 0.010)), Shaping.RELAY, ownership
        )
        relay = [one.pid for one, name in ownership.processes().items() if name == "relay"]
        devices = [f"dev{number}" for number in range(1, asked.links + 1)]
        with flows(network, devices) as senders:
            before, used_s, began_s = network.counters(), cpu_seconds(relay), time.monotonic()
            time.sleep(asked.seconds)
            after, used_s, took_s = network.counters(), cpu_seconds(relay) - used_s, time.monotonic() - began_s
            with busy_cores():
                loaded = round_trips(network, "edge1", 1000)
            assert all(sender.poll() is None for sender in senders)
        rates = [
            (after[name, "ap1", "up"].bytes - before[name, "ap1", "up"].bytes) * 8 / took_s / 1e6 for name in devices
        ]
        off = [abs(rate / asked.rate - 1) for rate in rates]
        print(
            f"{asked.links} links of {asked.rate:g} Mbit/s, all saturated: {min(rates):.3f} to {max(rates):.3f} Mbit/s,"
            f" median {statistics.median(rates):.3f}, the worst off by {max(off):.2%};"
            f" {len(relay)} relays {used_s / took_s:.0%} of a core"
        )
        with busy_cores():
            alone = round_trips(network, "edge1", 1000)
        for what, (times, undisturbed) in (("all links saturated", loaded), ("the links idle", alone)):
            print(f"round trip, 20 ms asked, {os.cpu_count()} busy cores, {what}: {percentiles(times)}")
            print(f"    while no core was taken away ({len(undisturbed)} of {len(times)}): {percentiles(undisturbed)}")
        network.stop()
    finally:
        assert not ownership.undo().failures


if __name__ == "__main__":
    main()
