"""What a run computes from, ready before it starts: jobs drawn, photographs chosen, payloads prepared."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from testbed.aecnn.loading import load_model
from testbed.aecnn.own.check import check_stages
from testbed.aecnn.own.profile import kept_profile
from testbed.aecnn.photographs import open_photographs
from testbed.documents.resolved import PolicySpec, ResolvedTopology
from testbed.documents.workload import Workload, is_class
from testbed.jobs.decision import Option
from testbed.jobs.job import Job
from testbed.jobs.profile import Profile
from testbed.offloading.errors import NotPossible, PolicyError
from testbed.offloading.policy import check_profile, make_policy
from testbed.offloading.slot_policy import CheckedSlots, check_slot_profile, decides_slots, make_slot_policy
from testbed.offloading.slots import SlotObservation
from testbed.runtime import payload_store
from testbed.runtime.board import Board
from testbed.runtime.decider import Outlook
from testbed.runtime.user_modules import make_importable, search_path
from testbed.workload.arrivals import draw_jobs


class Inputs(msgspec.Struct, frozen=True):
    """The inputs of a workload over a topology; every policy's run is given the same."""

    jobs: tuple[Job, ...]
    profile: Profile
    labels: dict[int, int]  # photograph to class, for those of the run
    store: Path
    choosable: tuple[Option, ...]  # what the policies may choose, and the store holds


def draw_inputs(workload: Workload, topology: ResolvedTopology, seed: int, progress: Callable[[float], None]) -> Inputs:
    """Draw the jobs, and find what they need; a class of the user's own is checked, and measured where it has not been.

    Raises:
        CheckpointError, ModelError, PhotographError: the model or the photographs are not what they must be.
    """
    make_importable(search_path())
    name, images = workload.model.checkpoint, workload.model.images
    model = load_model(name, workload.model.runtime)
    photographs = open_photographs(images, model.classes, model.input_px)
    if is_class(name):
        check_stages(name, model, photographs.jpeg(0))
    kept = payload_store.folder_for(model.fingerprint, images) / "profile.json"
    profile = model.profile or kept_profile(kept, name, model, photographs, images, progress)
    choosable = _choosable(workload.policies, profile)
    store = payload_store.folder_for(model.fingerprint, images, choosable)
    jobs = draw_jobs(workload, list(topology.devices), len(photographs), seed)
    labels = {image: photographs.label(image) for image in sorted({job.image for job in jobs})}
    return Inputs(jobs, profile, labels, store, choosable)


def prepare_payloads(
    workload: Workload,
    topology: ResolvedTopology,
    inputs: Inputs,
    progress: Callable[[float], None],
    *,
    simulated: bool = False,
) -> None:
    """Compute the payloads that the store lacks; nothing where every node computes live, unless that is simulated."""
    computes = [node.compute for group in (topology.devices, topology.edges) for node in group.values()]
    if not simulated and all(compute.flops_per_s is None for compute in computes):
        return
    if missing := payload_store.missing(inputs.store, inputs.labels):
        chosen = workload.model
        payload_store.prepare(
            inputs.store, chosen.checkpoint, chosen.runtime, chosen.images, missing, progress, inputs.choosable
        )


def check_policies(workload: Workload, topology: ResolvedTopology, profile: Profile, seed: int) -> None:
    """Refuse, before anything starts, a policy that cannot be made, wants what the profile lacks, or decides slots and
    cannot decide one of the topology at rest.

    Raises:
        PolicyError: with what is allowed.
    """
    for spec in workload.policies:
        if decides_slots(spec.name):
            policy = make_slot_policy(spec.name, spec.options, seed)
            check_slot_profile(policy, profile)
            _check_at_rest(policy, _at_rest(topology, profile, workload))
        else:
            check_profile(make_policy(spec.name, spec.options, seed), profile)


def _choosable(policies: Sequence[PolicySpec], profile: Profile) -> tuple[Option, ...]:
    """What is there for comparison takes longer to prepare than all else, and is chosen only by who names it."""
    named = [one for spec in policies for one in _listed(spec.options.get("encodings", spec.options.get("encoding")))]
    chosen = {*profile.considered().by_option, *profile.considered(named).by_option}
    return tuple(row.option for row in profile.rows if row.option in chosen)


def _listed(encodings: object) -> list[object]:
    """Encodings as a policy names them, one or several; what is neither is told when the policy is made."""
    return list(encodings) if isinstance(encodings, list | tuple) else [encodings]


def _check_at_rest(policy: CheckedSlots, observation: SlotObservation) -> None:
    try:
        policy.decide_slot(observation)
    except NotPossible:
        raise
    except Exception as error:  # a user's class may raise anything
        reason = str(error) if isinstance(error, PolicyError) else f"it raised {type(error).__name__}: {error}"
        raise PolicyError(f"policy '{policy.name}': cannot decide for this topology: {reason}") from error


def _at_rest(topology: ResolvedTopology, profile: Profile, workload: Workload) -> SlotObservation:
    """The first slot as a decider would see it before anything happens."""
    with tempfile.TemporaryDirectory() as folder:
        board = Board(Path(folder) / "board", topology)
        for link in topology.links:
            for direction, parameters in enumerate((link.up, link.down)):
                board.set_link((link.a, link.b), direction, parameters)
        outlook = Outlook(topology, board, profile, workload.offloading.slot_s, workload.deadlines_s[0])
        return outlook.observe(0, time.monotonic())
