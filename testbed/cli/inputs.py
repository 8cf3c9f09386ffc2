"""What runs compute from, made ready at a terminal."""

from __future__ import annotations

from testbed.aecnn.checkpoint import CheckpointError
from testbed.aecnn.own.protocol import ModelError
from testbed.aecnn.photographs import PhotographError
from testbed.cli.errors import WrongInputError
from testbed.cli.progress import bar_when_told
from testbed.documents.resolved import ResolvedTopology
from testbed.documents.workload import Workload
from testbed.workload.inputs import Inputs, check_policies, draw_inputs, prepare_payloads


def ready(workload: Workload, topology: ResolvedTopology, seed: int, *, simulated: bool) -> Inputs:
    """The inputs of a workload, with the payloads that nodes take from the store.

    Raises:
        WrongInputError: the model or the photographs are not what they must be.
        PolicyError: a policy is not.
    """
    try:
        with bar_when_told("measuring the model") as progress:
            inputs = draw_inputs(workload, topology, seed, progress)
        check_policies(workload, topology, inputs.profile, seed)
        with bar_when_told("preparing payloads") as progress:
            prepare_payloads(workload, topology, inputs, progress, simulated=simulated)
    except (CheckpointError, ModelError, PhotographError) as error:
        raise WrongInputError(f"model: {error}") from error
    return inputs
