"""The experiment's topology and workload, as files like a user's: each method is a device with an edge of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from testbed.experiments.poor_channel.methods import ByDevice, Method
from testbed.experiments.poor_channel.settings import DEADLINE_S, DEVICE_GFLOPS, EDGE_GFLOPS, Part, Phase
from testbed.jobs.decision import LOCAL, Decision

SHORTEST_S = 0.02
"""No job takes less on average, whatever the method: two round trips of the links, and what computes."""


def devices(methods: Sequence[Method]) -> dict[str, Method]:
    """The methods by their device."""
    return {f"dev{number}": method for number, method in enumerate(methods, 1)}


def topology(methods: Sequence[Method], part: Part) -> dict[str, Any]:
    """A star of which only the devices' links are poor."""
    names = [device.replace("dev", "edge") for device in devices(methods)]
    poor: dict[str, Any] = {"between": ["dev*", "ap1"], "bandwidth": "50 Mbit/s", "delay": "5 ms"}
    if part.burst:
        lossy = f"{100 * part.phases[0].loss:g} %"
        poor["channel"] = {"process": "gilbert_elliott", "loss": lossy, "burst": part.burst}
    return {
        "name": f"poor-{part.name}",
        "access_points": {"ap1": {}},
        "edges": {name: {"access_point": "ap1", "compute": {"gflops": EDGE_GFLOPS}} for name in names},
        "devices": {"dev": {"count": len(names), "compute": {"gflops": DEVICE_GFLOPS}}},
        "links": [poor, {"between": ["edge*", "ap1"], "bandwidth": "100 Mbit/s", "delay": "0.2 ms"}],
    }


def workload(methods: Sequence[Method], part: Part, checkpoint: str, phase_s: float, seed: int) -> dict[str, Any]:
    """Every device does one job after the other, while all their links go through the phases together."""
    duration_s = phase_s * len(part.phases)
    decisions = {device: msgspec.to_builtins(_decision(method, device)) for device, method in devices(methods).items()}
    return {
        "name": f"poor-{part.name}",
        "model": {"checkpoint": checkpoint, "images": "sample"},
        "duration": f"{duration_s:g} s",
        "seed": seed,
        "deadline": f"{DEADLINE_S:g} s",
        "arrivals": {"process": "single_stream", "jobs": math.ceil(duration_s / SHORTEST_S)},
        "offloading": {
            "policy": {
                "name": f"{ByDevice.__module__}:{ByDevice.__name__}",
                "decisions": decisions,
                "encodings": sorted({method.option.encoding for method in methods if method.option.encoding}),
            },
        },
        "events": [
            {"at": f"{number * phase_s:g} s", "links": ["dev*", "ap1"], "set": _parameters(phase)}
            for number, phase in enumerate(part.phases)
        ],
    }


def _decision(method: Method, device: str) -> Decision:
    return Decision(method.option, None if method.option == LOCAL else device.replace("dev", "edge"))


def _parameters(phase: Phase) -> Mapping[str, Any]:
    """Answers are small: only the way up has the rate, both lose."""
    return {"loss": f"{100 * phase.loss:g} %", "up": {"bandwidth": f"{phase.rate_mbps:g} Mbit/s"}}
