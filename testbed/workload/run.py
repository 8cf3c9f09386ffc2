"""One run: everybody prepared, jobs issued, rows stored as they come, and an end that accounts for every job."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from testbed.documents.resolved import CutEvent, Event, PolicySpec, StartEvent, StopEvent
from testbed.documents.workload import Workload
from testbed.jobs import ledger
from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.jobs.slot import SlotRow
from testbed.network.certify import CertificateEntry
from testbed.network.counters import Carried, Direction
from testbed.offloading.slot_policy import decides_slots
from testbed.reporting.slots import slot_faults, summarise_slots
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.summary import Summary, summarise
from testbed.reporting.verdict import INVALID, few, link_faults, verdict
from testbed.runtime.assembly import Assembly, AssemblyError, Ending
from testbed.runtime.run_spec import RunSpec, SlotSpec
from testbed.runtime.user_modules import search_path
from testbed.workload.byte_proof import LinkBytes, faults, prove
from testbed.workload.inputs import Inputs

Events = tuple[Event, ...]

LEAD_S = 0.5
"""From telling everybody to the run's start: longer than telling takes."""

_POLL_S = 0.5


class Standing(msgspec.Struct, frozen=True):
    """How a run stands, for whoever watches it."""

    elapsed_s: float
    duration_s: float
    issued: int  # jobs of the whole run
    ended: dict[Outcome, int]


class Certificate(msgspec.Struct):
    """`certificate.json`: the links measured before and after the run, and what they carried during it."""

    before: list[CertificateEntry]
    after: list[CertificateEntry] = []
    bytes: list[LinkBytes] = []


def run(
    assembly: Assembly,
    workload: Workload,
    events: Events,
    policy: PolicySpec,
    seed: int,
    inputs: Inputs,
    before: list[CertificateEntry],
    stored: StoredRun,
    manifest: dict[str, Any],
    watch: Callable[[Standing], None],
) -> list[CertificateEntry]:
    """Run a workload under one policy and store it.

    An interruption (KeyboardInterrupt) or the death of a process ends the run early: it is stored with all its jobs
    accounted for and INVALID, and the error is raised again.

    Returns:
        The links as measured after the run.
    """
    stored.write_manifest(manifest)
    book = _Book(inputs, policy.name, stored)
    fault: BaseException | None = None
    carried: dict[Direction, Carried] = {}
    slots: list[SlotRow] = []
    spec = _spec(assembly, workload, events, policy, seed, inputs)
    try:
        carried = assembly.carried()
        assembly.prepare(spec)
        start_s = assembly.start(events, seed, LEAD_S)
        finished = False
        while not finished:
            time.sleep(_POLL_S)
            rows, finished = assembly.collect()
            book.add(rows)
            stored.append_links(assembly.collect_links())
            slots += _stored(assembly.collect_slots(), stored)
            watch(Standing(time.monotonic() - start_s, workload.duration_s, len(inputs.jobs), book.ended))
    except (KeyboardInterrupt, AssemblyError) as error:
        fault = error
    ending = assembly.finish()
    book.add(ending.rows)
    book.close(assembly, fault)
    stored.append_links(ending.links)
    slots += _stored(ending.slots, stored)
    certificate = Certificate(before)
    if fault is None:
        try:
            carried = {link: count.since(carried[link]) for link, count in assembly.carried().items()}
            certificate.bytes = prove(assembly.topology, carried, assembly.tallies(), book.rows)
            certificate.after = assembly.certify()
        except AssemblyError as error:
            fault = error
    summary = _summary(workload, policy, book.rows, inputs, events, ending, certificate, fault)
    if spec.slots:
        figures = summarise_slots(slots, book.rows, spec.slots.slot_s, workload.duration_s)
        reasons = (*summary.reasons, *slot_faults(slots))
        summary = msgspec.structs.replace(summary, slots=figures, reasons=reasons, verdict=verdict(reasons))
    ended = {**manifest, "events": msgspec.to_builtins(ending.events), "overruns": ending.overruns}
    stored.finish(ended, certificate, summary)
    if fault is not None:
        raise fault
    return certificate.after


class _Book:
    """The ledger as it fills: every job once, stored as it comes."""

    def __init__(self, inputs: Inputs, policy: str, stored: StoredRun) -> None:
        self._open = {job.job_id: job for job in inputs.jobs}
        self._labels, self._policy, self._stored = inputs.labels, policy, stored
        self.rows: list[LedgerRow] = []
        self.ended: Counter[Outcome] = Counter()

    def add(self, rows: list[LedgerRow]) -> None:
        """Store rows."""
        for row in rows:
            del self._open[row.job_id]
        self.rows += rows
        self.ended.update(row.outcome for row in rows)
        if rows:
            self._stored.append(rows)

    def close(self, assembly: Assembly, fault: BaseException | None) -> None:
        """Account for the jobs whose device's process did not live to do so: nobody knows whether they were sent."""
        reason = "the run was interrupted" if isinstance(fault, KeyboardInterrupt) else str(fault)
        self.add(
            [
                ledger.unanswered(
                    job,
                    self._policy,
                    None,
                    Outcome.FAILED,
                    assembly.lost(job.device) or reason,
                    dispatch_ms=None,
                    payload_bytes=0,
                    wire_bytes=0,
                    label=self._labels[job.image],
                    attempts=0,
                )
                for job in list(self._open.values())
            ]
        )


def _stored(slots: list[SlotRow], stored: StoredRun) -> list[SlotRow]:
    stored.append_slots(slots)
    return slots


def _spec(
    assembly: Assembly, workload: Workload, events: Events, policy: PolicySpec, seed: int, inputs: Inputs
) -> RunSpec:
    last_arrival_s = inputs.jobs[-1].arrival_s if inputs.jobs else 0.0
    return RunSpec(
        topology=assembly.topology,
        nodes=assembly.nodes,
        checkpoint=workload.model.checkpoint,
        runtime=workload.model.runtime,
        images=workload.model.images,
        store=str(inputs.store),
        profile=inputs.profile,
        labels=inputs.labels,
        policy=policy.name,
        options=policy.options,
        estimate_error=workload.offloading.estimate_error,
        search_path=search_path(),
        seed=seed,
        jobs=inputs.jobs,
        drain_s=last_arrival_s + workload.deadline_s,
        slots=_slots(workload, policy),
        node_events=tuple(event for event in events if isinstance(event, StopEvent | StartEvent)),
    )


def _slots(workload: Workload, policy: PolicySpec) -> SlotSpec | None:
    return SlotSpec(workload.offloading.slot_s, workload.deadline_s) if decides_slots(policy.name) else None


def _summary(
    workload: Workload,
    policy: PolicySpec,
    rows: list[LedgerRow],
    inputs: Inputs,
    events: Events,
    ending: Ending,
    certificate: Certificate,
    fault: BaseException | None,
) -> Summary:
    summary = summarise(
        policy.name,
        rows,
        issued=len(inputs.jobs),
        duration_s=workload.duration_s,
        event_times_s=_instants_s(events),
    )
    cut_short = ["the run was interrupted" if isinstance(fault, KeyboardInterrupt) else str(fault)] if fault else []
    links = (*link_faults(certificate.before, certificate.after), *few(faults(certificate.bytes)))
    reasons = (*summary.reasons, *cut_short, *ending.losses, *links)
    return msgspec.structs.replace(summary, verdict=INVALID, reasons=reasons) if reasons else summary


def _instants_s(events: Events) -> set[float]:
    """When something begins or ends to be otherwise."""
    return {event.at_s for event in events} | {event.until_s for event in events if isinstance(event, CutEvent)}
