"""Links asked against links measured, ours and stock Mininet's TCLink, by the same instrument in the same run.

Run as root: `python benchmarks/links.py [--shaping auto] [--plot docs/links.svg] [--quick]`. One link is set to one
value after another in place and measured by lone packets and trains, as the thorough certificate does it; stock
Mininet's hosts are joined anew for each value. Every core is kept busy meanwhile (`--idle`: not). Where the kernel has
no netem, TCLink silently leaves out delay and loss. A last part sends a message of 20 KiB over an idle connection.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from busy import busy_cores
from stars import star

from testbed.documents.resolved import LinkParameters, Tolerance
from testbed.network.build import EmulatedNetwork, ProbeEnd
from testbed.network.measures import Measured, measure
from testbed.network.namespace import socket_in
from testbed.network.ownership import Ownership
from testbed.network.probe import choose_shaping
from testbed.network.prober import probed
from testbed.network.probing import Direction, plan
from testbed.network.shape import Shaping

MBIT = 1e6
ALPHA = 0.01
RATES = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
DELAYS_MS = (0, 1, 5, 20, 50, 100, 200)
LOSSES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2)
BURSTS = (1, 2, 5, 10, 20)
MESSAGE = 20 * 1024
MESSAGE_IP = MESSAGE + 52 * math.ceil(MESSAGE / 1448)


def cases(shaping: Shaping, quick: bool) -> dict[str, list[LinkParameters]]:
    """What is asked, by what is varied."""
    every = {
        "rate": [LinkParameters(rate * MBIT, 0.005) for rate in RATES if shaping is Shaping.NETEM or rate <= 100],
        "delay": [LinkParameters(10 * MBIT, delay / 1e3) for delay in DELAYS_MS],
        "loss": [LinkParameters(10 * MBIT, 0.005, loss=loss) for loss in LOSSES],
        "burst": [LinkParameters(10 * MBIT, 0.005, loss=0.05, burst=burst) for burst in BURSTS],
        "message": [LinkParameters(10 * MBIT, 0.005), LinkParameters(0.4 * MBIT, 0.005)],
    }
    return {what: values[::3] for what, values in every.items()} if quick else every


class Measurement(msgspec.Struct):
    """One value of one kind, as it was measured: of a message, how long it took in ms."""

    measured: Measured | None = None
    message_ms: float | None = None


def measured(ends: tuple[ProbeEnd, ProbeEnd], link: LinkParameters, what: str) -> Measurement:
    """One direction: as much as is needed of what is varied."""
    if what == "message":
        return Measurement(message_ms=message_ms(ends))
    direction = Direction(link)
    # small packets by the ten thousand tell a loss, and how losses come
    many = what in ("loss", "burst")
    (probing,), listen_s = plan([direction], 0.25 if many else 4.0, thorough=many)
    (times,) = probed(subprocess.Popen, [ends], [probing], listen_s)
    return Measurement(measure(times, probing, direction, Tolerance(), ALPHA).measured)


def message_ms(ends: tuple[ProbeEnd, ProbeEnd]) -> float:
    """The median time of a message over a warm connection that has been idle, from the first byte sent to the last."""
    sender_end, receiver_end = ends
    listener = socket_in(receiver_end.pid)
    listener.bind((receiver_end.address, 0))
    listener.listen()
    sender = socket_in(sender_end.pid)
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sender.connect(listener.getsockname())
    receiver, _ = listener.accept()
    arrived = threading.Event()
    at: list[float] = []

    def receive() -> None:
        left = MESSAGE
        while data := receiver.recv(1 << 20):
            left -= len(data)
            if left == 0:
                at.append(time.monotonic())
                left = MESSAGE
                arrived.set()

    threading.Thread(target=receive, daemon=True).start()
    took = []
    for _ in range(8):
        began = time.monotonic()
        sender.sendall(bytes(MESSAGE))
        arrived.wait(30)
        arrived.clear()
        took.append((at[-1] - began) * 1e3)
        time.sleep(0.5)
    for one in (sender, receiver, listener):
        one.close()
    return sorted(took[2:])[3]  # the first open TCP's window


def ours(every: dict[str, list[LinkParameters]], shaping: Shaping) -> dict[str, list[Measurement]]:
    ownership = Ownership.create(f"bench-{os.getpid()}")
    try:
        network = EmulatedNetwork.build(star(1, LinkParameters(MBIT, 0.005)), shaping, ownership)
        ends = (network.probe_end("dev1", "ap1", 0), network.probe_end("dev1", "ap1", 1))
        found: dict[str, list[Measurement]] = {}
        for what, values in every.items():
            for link in values:
                network.set_link("dev1", "ap1", link, link)
                found.setdefault(what, []).append(measured(ends, link, what))
                print(".", end="", file=sys.stderr, flush=True)
        network.stop()
        return found
    finally:
        assert not ownership.undo().failures


@contextlib.contextmanager
def stock_link(link: LinkParameters) -> Iterator[tuple[ProbeEnd, ProbeEnd]]:
    """Two hosts at a bridge, one of them by a TCLink: what it sends is shaped."""
    from mininet.link import TCLink
    from mininet.log import setLogLevel
    from mininet.net import Mininet
    from mininet.nodelib import LinuxBridge

    setLogLevel("critical")
    Mininet.inited = True  # or it would raise limits of the whole machine
    net = Mininet(switch=LinuxBridge, controller=None)
    hosts = net.addHost("h1"), net.addHost("h2")
    switch = net.addSwitch("s1")
    options: dict[str, Any] = {"bw": link.bandwidth_bps / MBIT}
    options |= {"delay": f"{link.delay_s * 1e3:g}ms"} if link.delay_s else {}
    options |= {"loss": link.loss * 100} if link.loss else {}
    net.addLink(hosts[0], switch, cls=TCLink, **options)
    net.addLink(hosts[1], switch)
    net.start()
    try:
        net.pingAll(timeout="2")
        yield tuple(ProbeEnd(host.pid, host.IP(), host.defaultIntf().name) for host in hosts)  # type: ignore[misc]
    finally:
        net.stop()


def stock(every: dict[str, list[LinkParameters]]) -> dict[str, list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for what, values in every.items():
        for link in values:
            with stock_link(link) as ends:
                found.setdefault(what, []).append(measured(ends, link, what))
            print(".", end="", file=sys.stderr, flush=True)
    return found


def stock_in_a_process(every: dict[str, list[LinkParameters]]) -> dict[str, list[Measurement]]:
    """In a network namespace of its own: stock Mininet would put its switch ports into the machine's."""
    argv = ["unshare", "--net", sys.executable, __file__, "--stock", json.dumps(msgspec.to_builtins(every))]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("stock Mininet failed")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=dict[str, list[Measurement]])


HEADINGS = {
    "rate": "bandwidth, Mbit/s (delay 5 ms)",
    "delay": "delay, ms (10 Mbit/s)",
    "loss": "loss, % (10 Mbit/s): measured, and its 99 % interval",
    "burst": "packets lost in a row, on average (loss 5 %): measured, and its 99 % interval",
    "message": "ms for a lone message of 20 KiB (ideal / measured)",
}


def cell(what: str, link: LinkParameters, one: Measurement) -> str:
    """What was measured, as a table shows it."""
    if what == "message":
        return f"{one.message_ms:.2f}"
    assert one.measured is not None
    found = {"rate": one.measured.bandwidth_bps, "delay": one.measured.delay_ms}.get(what)
    if what in ("rate", "delay"):
        if found is None:
            return "not measurable"
        if what == "rate":
            return f"{found.value / MBIT:.4g} ({found.value / link.bandwidth_bps - 1:+.2%})"
        return f"{found.value:.3f} ({found.value - link.delay_s * 1e3:+.3f})"
    found = one.measured.loss if what == "loss" else one.measured.burst
    if found is None:
        return "none lost" if what == "burst" else "not measurable"
    scale, asked = (100.0, link.loss) if what == "loss" else (1.0, link.burst or 1 / (1 - link.loss))
    inside = "holds it" if found.low <= asked <= found.high else "MISSES it"
    return f"{found.value * scale:.3g} ({found.low * scale:.3g} to {found.high * scale:.3g}, {inside})"


def asked_cell(what: str, link: LinkParameters) -> str:
    ideal_ms = MESSAGE_IP * 8e3 / link.bandwidth_bps + link.delay_s * 1e3
    return {
        "rate": f"{link.bandwidth_bps / MBIT:g}",
        "delay": f"{link.delay_s * 1e3:g}",
        "loss": f"{link.loss * 100:g}",
        "burst": f"{link.burst or 1:g}",
        "message": f"{ideal_ms:.2f} at {link.bandwidth_bps / MBIT:g} Mbit/s",
    }[what]


def plot(path: Path, every: dict[str, list[LinkParameters]], rows: dict[str, dict[str, list[Measurement]]]) -> None:
    """Asked against measured, each kind in a panel."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "links"
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 4, figsize=(14, 3.6), layout="constrained")
    kinds = ("rate", "delay", "loss", "burst")
    for panel, what in zip(panels, kinds, strict=True):
        asked = [
            {
                "rate": link.bandwidth_bps / MBIT,
                "delay": link.delay_s * 1e3,
                "loss": link.loss * 100,
                "burst": link.burst or 1,
            }[what]
            for link in every[what]
        ]
        panel.plot(asked, asked, color="grey", linewidth=0.8, label="asked")
        for (who, found), mark in zip(rows.items(), ("o", "x"), strict=True):
            values = [_value(what, one) for one in found[what]]
            panel.plot(asked, values, mark, markersize=5, label=who)
        if what == "rate":
            panel.set_xscale("log")
            panel.set_yscale("log")
        panel.set_xlabel(HEADINGS[what].split(":")[0].split("(")[0])
    panels[0].set_ylabel("measured")
    panels[0].legend()
    figure.savefig(path, metadata={"Date": None})


def _value(what: str, one: Measurement) -> float:
    assert one.measured is not None
    found = {
        "rate": one.measured.bandwidth_bps,
        "delay": one.measured.delay_ms,
        "loss": one.measured.loss,
        "burst": one.measured.burst,
    }[what]
    if found is None:
        return math.nan
    return found.value * {"rate": 1 / MBIT, "loss": 100}.get(what, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shaping", default="auto")
    parser.add_argument("--idle", action="store_true", help="keep no core busy")
    parser.add_argument("--quick", action="store_true", help="a third of the values")
    parser.add_argument("--only", nargs="+", choices=[*HEADINGS], default=[*HEADINGS], help="what to vary")
    parser.add_argument("--plot", type=Path, help="all kinds as an SVG")
    parser.add_argument("--stock", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stock:
        every = msgspec.json.decode(asked.stock, type=dict[str, list[LinkParameters]])
        print(msgspec.json.encode(stock(every)).decode())
        return
    shaping = choose_shaping(asked.shaping)
    every = {what: values for what, values in cases(shaping, asked.quick).items() if what in asked.only}
    with contextlib.nullcontext() if asked.idle else busy_cores():
        rows = {"ours": ours(every, shaping), "stock TCLink": stock_in_a_process(every)}
    print(file=sys.stderr)
    busy = "idle" if asked.idle else f"{os.cpu_count()} busy cores"
    print(f"{shaping.value}, kernel {platform.release()}, {busy}\n")
    for what, values in every.items():
        print(f"| {HEADINGS[what]} | {' | '.join(rows)} |\n| --- | --- | --- |")
        for number, link in enumerate(values):
            cells = [cell(what, link, found[what][number]) for found in rows.values()]
            print(f"| {asked_cell(what, link)} | {' | '.join(cells)} |")
        print()
    if asked.plot:
        plot(asked.plot, every, rows)
        print(f"plot: {asked.plot}")


if __name__ == "__main__":
    main()
