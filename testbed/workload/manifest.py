"""The manifest: everything that a run depended on, written beside its results."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import msgspec

import testbed
from testbed.documents.resolved import PolicySpec, ResolvedTopology
from testbed.documents.workload import Workload
from testbed.jobs.profile import Profile

SIMULATED = "simulated"
"""What a manifest calls the shaping of a run without a network."""

_PACKAGES = ("torch", "onnxruntime", "ray", "mininet", "numpy", "constriction", "msgspec", "pyarrow", "simpy")


def manifest(
    topology: ResolvedTopology, workload: Workload, policy: PolicySpec, seed: int, shaping: str, profile: Profile
) -> dict[str, Any]:
    """What the run is about to be made from; JSON values."""
    return {
        "testbed": testbed.__version__,
        "topology": msgspec.to_builtins(topology),
        "workload": workload.document(),
        "policy": msgspec.to_builtins(policy),
        "seed": seed,  # of arrivals, images, seeded policies and estimates alike
        "shaping": shaping,
        "checkpoint_sha256": profile.checkpoint,
        "profile": {"images": profile.images, "n": profile.n},
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
    }
