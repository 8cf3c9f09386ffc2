"""A workload's runs, one for each of its policies, on the same jobs and the same channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from testbed.documents.events import resolve_events
from testbed.documents.workload import Workload
from testbed.network.certify import CertificateEntry, misses
from testbed.network.errors import RefusedError
from testbed.reporting.live import Standing
from testbed.reporting.page import draw_own_page
from testbed.reporting.stored_run import StoredRun
from testbed.runtime.lifecycle import Running, Tell
from testbed.workload.inputs import Inputs
from testbed.workload.manifest import manifest
from testbed.workload.run import run


def run_series(
    running: Running,
    workload: Workload,
    seed: int,
    inputs: Inputs,
    output: Path,
    tell: Tell,
    watch: Callable[[Standing], None],
) -> list[StoredRun]:
    """Run the workload under each policy in turn; the links are measured before, between and after.

    Raises:
        RefusedError: events ask for what the network between machines cannot give; nothing was run.
        KeyboardInterrupt, AssemblyError: as `run` does; what was run is stored.
    """
    events = resolve_events(workload, running.topology)
    if faults := running.assembly.event_faults(events):
        raise RefusedError("\n".join(faults))
    certificate = running.certificate
    if not certificate:
        tell("certifying the links")
        certificate = running.assembly.certify()
    _tell_misses(certificate, tell)
    runs = []
    for number, policy in enumerate(workload.policies, 1):
        stored = StoredRun.create(output, workload.name, policy.name)
        tell(f"run {number} of {len(workload.policies)}: {policy.name}, {len(inputs.jobs)} jobs, to {stored.path}")
        made_from = manifest(running.topology, workload, policy, seed, running.shaping.value, inputs.profile)
        try:
            certificate = run(
                running.assembly, workload, events, policy, seed, inputs, certificate, stored, made_from, watch
            )
        finally:
            if stored.finished and (fault := draw_own_page(stored)):
                tell(f"warning: {fault}")
        runs.append(stored)
    return runs


def _tell_misses(certificate: list[CertificateEntry], tell: Tell) -> None:
    for miss in misses(certificate):
        tell(f"warning: {miss}")
