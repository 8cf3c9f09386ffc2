"""A workload's runs on the model instead of a network: the same jobs and channel, without root, in simulated time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from testbed.documents.arrivals import SingleStream
from testbed.documents.events import resolve_events
from testbed.documents.resolved import PolicySpec, ResolvedTopology
from testbed.documents.workload import Workload
from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.offloading.slot_policy import decides_slots
from testbed.reporting.live import Standing
from testbed.reporting.loadgen import loadgen
from testbed.reporting.page import draw_own_page
from testbed.reporting.slots import summarise_slots
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.summary import summarise
from testbed.reporting.verdict import Evidence
from testbed.runtime.device_actor import DRAINED
from testbed.simulation.pace import read_photographs
from testbed.simulation.run import Simulation
from testbed.workload.inputs import Inputs
from testbed.workload.manifest import SIMULATED, manifest
from testbed.workload.run import Certificate, Events, instants_s

_STEP_S = 1.0
_DRAWN_LINKS = 1000
"""A page of more links shows nothing to the eye, and takes longer than the run."""
_INTERRUPTED = "the run was interrupted"

Watch = Callable[[Standing], None]


def simulate_series(
    topology: ResolvedTopology,
    workload: Workload,
    seed: int,
    inputs: Inputs,
    output: Path,
    tell: Callable[[str], None],
    watch: Watch,
) -> list[StoredRun]:
    """Simulate the workload under each policy in turn.

    Raises:
        KeyboardInterrupt: what was simulated is stored, and the last run is INVALID.
    """
    events = resolve_events(workload, topology)
    runs = []
    for number, policy in enumerate(workload.policies, 1):
        stored = StoredRun.create(output, workload.name, policy.name)
        tell(f"run {number} of {len(workload.policies)}: {policy.name}, {len(inputs.jobs)} jobs, to {stored.path}")
        try:
            simulate(topology, workload, events, policy, seed, inputs, stored, watch)
        finally:
            if len(topology.links) <= _DRAWN_LINKS and stored.finished and (fault := draw_own_page(stored)):
                tell(f"warning: {fault}")
        runs.append(stored)
    return runs


def simulate(
    topology: ResolvedTopology,
    workload: Workload,
    events: Events,
    policy: PolicySpec,
    seed: int,
    inputs: Inputs,
    stored: StoredRun,
    watch: Watch,
) -> None:
    """Simulate a workload under one policy and store it as a run whose shaping is `simulated`, without a certificate:
    there was nothing to measure.

    Raises:
        KeyboardInterrupt: the run is stored as it is then, and INVALID.
    """
    made_from = manifest(topology, workload, policy, seed, SIMULATED, inputs.profile)
    stored.write_manifest(made_from)
    chained = isinstance(workload.arrivals, SingleStream)
    last_s = max((job.arrival_s + job.deadline_s for job in inputs.jobs), default=0.0)
    simulation = Simulation(
        topology,
        events,
        policy,
        seed=seed,
        estimate_error=workload.offloading.estimate_error,
        slot_s=workload.offloading.slot_s,
        deadline_s=workload.deadlines_s[0],
        jobs=inputs.jobs,
        drain_s=workload.duration_s + last_s if chained else last_s,
        chained_s=workload.duration_s if chained else None,
        profile=inputs.profile,
        labels=inputs.labels,
        photographs=read_photographs(inputs.store, frozenset(inputs.labels), inputs.profile),
    )
    rows: list[LedgerRow] = []
    ended: Counter[Outcome] = Counter()
    fault: KeyboardInterrupt | None = None

    def keep(now_s: float) -> Standing:
        more, links = simulation.take_rows(), simulation.take_links()
        stored.append(more)
        stored.append_links(links)
        rows.extend(more)
        ended.update(row.outcome for row in more)
        name, jobs = stored.path.name, len(inputs.jobs)
        return Standing(now_s, workload.duration_s, jobs, ended, name, policy.name, more, links)

    try:
        for now_s in simulation.play(_STEP_S):
            watch(keep(now_s))
    except KeyboardInterrupt as interrupt:
        fault = interrupt
    simulation.end(_INTERRUPTED if fault else DRAINED)
    watch(keep(simulation.now_s))
    stored.append_slots(simulation.slots)
    slots = None
    if decides_slots(policy.name):
        slots = summarise_slots(simulation.slots, rows, workload.offloading.slot_s, workload.duration_s)
    summary = summarise(
        policy.name,
        rows,
        issued=len(rows) if chained else len(inputs.jobs),
        duration_s=simulation.now_s if chained else workload.duration_s,
        event_times_s=instants_s(events),
        evidence=Evidence(losses=[_INTERRUPTED] if fault else [], slots=slots, interval=workload.interval),
        scenario=loadgen(workload.arrivals, rows),
    )
    stored.finish(
        {**made_from, "events": msgspec.to_builtins(simulation.events), "overruns": 0}, Certificate([]), summary
    )
    if fault is not None:
        raise fault
