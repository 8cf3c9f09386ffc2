"""Links between machines: rates and delays asked and measured, over tunnels between namespaces on a bridge.

Run as root: `python benchmarks/crossing.py [--shaping relay]`. Devices lie on one machine and their access point on
another; each link is measured as `testbed up` does.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from stars import star

from testbed.documents.resolved import LinkParameters, ResolvedLink
from testbed.network.certify_parts import Round, certify_parts, probe_part
from testbed.network.probe import choose_shaping
from tests.network.machines import lab, split, spread

RATES = (0.5e6, 2e6, 10e6, 20e6, 50e6, 100e6)
DELAYS_S = (0.001, 0.005, 0.020, 0.100)


class Same(NamedTuple):
    """The clock of machines that are namespaces of one."""

    offset_s: float = 0.0
    error_s: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shaping", default="auto")
    shaping = choose_shaping(parser.parse_args().shaping)
    asked = [LinkParameters(rate, 0.005) for rate in RATES] + [LinkParameters(10e6, delay_s) for delay_s in DELAYS_S]
    topology = star(len(asked), asked[0])
    links = [ResolvedLink(f"dev{number}", "ap1", one, one) for number, one in enumerate(asked, 1)]
    topology = msgspec.structs.replace(topology, links=(topology.links[0], *links))
    placement = {"ap1": "lab1", "edge1": "lab1"} | dict.fromkeys(topology.devices, "lab2")
    with lab(2) as machines:
        parts = split(topology, placement, machines)
        crossing = parts["lab1"].crossings[0]
        print(f"the network takes {crossing.delay_s * 1e3:.3f} ms and gives {min(crossing.rates_bps) / 1e6:.0f} Mbit/s")
        with spread(f"crossing-{os.getpid()}", topology, parts, machines, shaping) as networks:

            def ask(asked: Round) -> dict[str, bytes]:
                begin_ns = time.monotonic_ns() + round(asked.lead_s * 1e9)
                with ThreadPoolExecutor(2) as pool:
                    said = {name: pool.submit(probe_part, one, asked, begin_ns) for name, one in networks.items()}
                return {name: one.result() for name, one in said.items()}

            clocks = dict.fromkeys(networks, Same())
            print("asked Mbit/s, ms -> measured, up and down")
            entries = certify_parts(topology, networks["lab1"].links(), parts["lab1"], lambda: clocks, ask)
            for up, down in zip(entries[::2], entries[1::2], strict=True):
                line = f"{up.asked.bandwidth_bps / 1e6:g}, {up.asked.delay_ms:g} ->"
                for entry in (up, down):
                    rate, delay = entry.measured.bandwidth_bps, entry.measured.delay_ms
                    line += f"  {rate.value / 1e6:.4f}, {delay.value:.3f}" if rate and delay else f"  {entry.reason}"
                print(line)


if __name__ == "__main__":
    main()
