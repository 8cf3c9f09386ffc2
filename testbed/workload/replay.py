"""What a stored run was made from, read back from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError

from testbed.documents.resolved import PolicySpec, ResolvedTopology
from testbed.documents.workload import Workload


class ManifestError(Exception):
    """A manifest from which a run cannot be repeated."""


class Plan(NamedTuple):
    """A run to be repeated."""

    topology: ResolvedTopology
    workload: Workload  # under the run's one policy
    seed: int
    shaping: str


def planned(manifest: Mapping[str, Any]) -> Plan:
    """The plan of a run, from its manifest alone: the files it was made from need not exist any more.

    Raises:
        ManifestError: it lacks something, or this version of the testbed cannot read it.
    """
    try:
        topology = msgspec.convert(manifest["topology"], ResolvedTopology)
        policy = msgspec.convert(manifest["policy"], PolicySpec)
        written = manifest["workload"]
        offloading = {**written["offloading"], "policy": {"name": policy.name, **policy.options}}
        workload = Workload.model_validate({**written, "offloading": offloading})
        return Plan(topology, workload, manifest["seed"], manifest["shaping"])
    except KeyError as error:
        raise ManifestError(f"the manifest has no {error}: the run was killed before it was written") from error
    except (msgspec.ValidationError, ValidationError, TypeError) as error:
        reason = "; ".join(str(error).splitlines())
        raise ManifestError(f"the manifest was written by another version of the testbed: {reason}") from error
