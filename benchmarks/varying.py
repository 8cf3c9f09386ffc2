"""Fading links: how late changes are applied, what that costs, and what it does to the traffic.

Run as root: `python benchmarks/varying.py [--links 50] [--coherence-ms 20] [--seconds 20] [--shaping auto]`. Both
directions of each link could fade; here the direction from the device does, so that 50 links at 20 ms are 2,500 changes
a second. First the links are idle, and the CPU of everything concerned is counted: this process, which draws and plans,
and the testbed's own. Then a TCP flow saturates each link, with every core kept busy besides; then numbered packets
wait in a link's queue while its rate changes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import time

import msgspec
from busy import busy_cores, cpu_seconds
from relay_scale import flows
from stars import star

from testbed.documents.fading import shannon_bps
from testbed.documents.resolved import Fading, LinkParameters
from testbed.network.build import EmulatedNetwork
from testbed.network.links import AppliedChange
from testbed.network.namespace import socket_in
from testbed.network.ownership import Ownership
from testbed.network.player import Player
from testbed.network.probe import choose_shaping
from testbed.network.timeline import Timeline

CHANNEL = Fading(
    bandwidth_hz=300e3,
    distance_m=50,
    path_loss_exponent=3,
    reference_loss_db=40,
    transmit_power_dbm=10,
    noise_dbm_per_hz=-150,
    coherence_s=0.020,
)


def played(network: EmulatedNetwork, seconds: float, seed: int) -> tuple[list[float], float]:
    """How late each change of so many seconds was applied, in ms; and the share of a core that it took."""
    late_ms: list[float] = []

    def told(changes: list[AppliedChange]) -> None:
        late_ms.extend((one.applied_ns - one.planned.at_ns) / 1e6 for one in changes)

    timeline = Timeline(network.topology, network.links(), (), seed)
    mine = [os.getpid(), *(one.pid for one in network.ownership.processes())]
    used_s, began_s = cpu_seconds(mine), time.monotonic()
    player = Player(network, timeline.changes(time.monotonic_ns() + 300_000_000), told)
    time.sleep(seconds)
    faults = player.stop()
    assert not faults, faults
    return late_ms, (cpu_seconds(mine) - used_s) / (time.monotonic() - began_s)


def line(what: str, late_ms: list[float], seconds: float) -> str:
    ordered = sorted(late_ms)
    p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    return (
        f"{what}: {len(ordered) / seconds:.0f} changes a second, applied late by {p50:.2f} ms (p50),"
        f" {p99:.2f} ms (p99), {ordered[-1]:.2f} ms (at most)"
    )


def queued_packets(network: EmulatedNetwork) -> tuple[int, int]:
    """Packets sent into the queue of a slow link whose rate then changes a hundred times, and how many came."""
    link = ("edge1", "ap1")
    network.set_link(*link, LinkParameters(200e3, 0.002), network.links()[link][1])
    sender = socket_in(network.namespace_pid("edge1"), type=socket.SOCK_DGRAM)
    receiver = socket_in(network.namespace_pid("ap1"), type=socket.SOCK_DGRAM)
    receiver.bind((network.address("ap1"), 0))
    receiver.settimeout(1)
    sent = 60
    for number in range(sent):
        sender.sendto(number.to_bytes(2, "big") + bytes(970), receiver.getsockname())
    for number in range(100):
        network.set_link(*link, LinkParameters(200e3 + 100e3 * (number % 7), 0.002), network.links()[link][1])
        time.sleep(0.005)
    came = set()
    with contextlib.suppress(TimeoutError):
        while len(came) < sent:
            came.add(receiver.recv(2000)[:2])
    sender.close()
    receiver.close()
    return sent, len(came)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=50)
    parser.add_argument("--coherence-ms", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--shaping", default="auto")
    asked = parser.parse_args()
    shaping = choose_shaping(asked.shaping)
    channel = msgspec.structs.replace(CHANNEL, coherence_s=asked.coherence_ms / 1e3)
    plain = star(asked.links, LinkParameters(shannon_bps(channel, 1.0), 0.005))
    links = tuple(
        msgspec.structs.replace(link, up_channel=0) if link.a.startswith("dev") else link for link in plain.links
    )
    topology = msgspec.structs.replace(plain, links=links, channels=(channel,))
    ownership = Ownership.create(f"bench-{os.getpid()}")
    try:
        network = EmulatedNetwork.build(topology, shaping, ownership)
        late_ms, share = played(network, asked.seconds, seed=1)
        print(f"{shaping.value}, {asked.links} links, mean gain {shannon_bps(channel, 1.0) / 1e6:.2f} Mbit/s")
        print(f"{line('idle links', late_ms, asked.seconds)}; {share:.0%} of a core in all")
        with flows(network, [f"dev{number}" for number in range(1, asked.links + 1)]) as senders:
            before = network.counters()
            with busy_cores():
                late_ms, _ = played(network, asked.seconds, seed=2)
            after = network.counters()
            broken = sum(sender.poll() is not None for sender in senders)
        moving = sum(after[link].bytes > before[link].bytes + 10_000 for link in after if link[2] == "up")
        print(line(f"saturated links, {os.cpu_count()} busy cores", late_ms, asked.seconds))
        print(f"TCP flows that went on: {moving} of {asked.links}; reset: {broken}")
        print("queued packets sent and received over 100 changes of rate: {} and {}".format(*queued_packets(network)))
        network.stop()
    finally:
        assert not ownership.undo().failures


if __name__ == "__main__":
    main()
