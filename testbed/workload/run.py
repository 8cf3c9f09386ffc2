"""One run: everybody prepared, jobs issued, rows stored as they come, and an end that accounts for every job."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from testbed.documents.arrivals import SingleStream
from testbed.documents.resolved import CutEvent, Event, PolicySpec, StartEvent, StopEvent
from testbed.documents.workload import Workload
from testbed.jobs import ledger
from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.jobs.slot import SlotRow
from testbed.network.certify import CertificateEntry
from testbed.network.counters import Carried, Direction
from testbed.offloading.slot_policy import decides_slots
from testbed.reporting.live import Standing
from testbed.reporting.loadgen import loadgen
from testbed.reporting.slots import summarise_slots
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.summary import summarise
from testbed.reporting.verdict import Evidence
from testbed.runtime.asking import AssemblyError
from testbed.runtime.assembly import Assembly
from testbed.runtime.run_spec import RunSpec, SlotSpec
from testbed.runtime.user_modules import search_path
from testbed.workload.byte_proof import LinkBytes, faults, prove
from testbed.workload.inputs import Inputs

Events = tuple[Event, ...]
Lost = Callable[[str], str | None]
"""Tells of a device why its process is gone, None while it lives."""

LEAD_S = 0.5
"""From telling everybody to the run's start: longer than telling takes."""

_POLL_S = 0.5


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
    accounted for and INVALID, and the error is raised again. Without one of several machines it goes on to its end, and
    that error is raised then.

    Returns:
        The links as measured after the run.
    """
    if machines := assembly.facts():
        manifest = {**manifest, "machines": machines}
    stored.write_manifest(manifest)
    book = Book(inputs, policy.name, stored)
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
            if spec.chained_s is None:
                book.close(assembly.lost)
            links = assembly.collect_links()
            stored.append_links(links)
            slots += _stored(assembly.collect_slots(), stored)
            watch(
                Standing(
                    time.monotonic() - start_s,
                    workload.duration_s,
                    len(inputs.jobs),
                    book.ended,
                    run=stored.path.name,
                    policy=policy.name,
                    rows=rows,
                    links=links,
                    backlogs_s=assembly.backlogs_s(),
                )
            )
    except (KeyboardInterrupt, AssemblyError) as error:
        fault = error
    ending = assembly.finish()
    cut_short = _cut_short(fault)
    if fault is None and assembly.lost_machines:
        fault = AssemblyError("; ".join(assembly.lost_machines))
    book.add(ending.rows)
    if spec.chained_s is not None:
        book.withdraw(assembly.lost)
    book.close(assembly.lost, fault)
    stored.append_links(ending.links)
    slots += _stored(ending.slots, stored)
    certificate = Certificate(before)
    if fault is None:
        try:
            carried = {link: count.since(carried[link]) for link, count in assembly.carried().items()}
            certificate.bytes = prove(assembly.topology, carried, assembly.tallies(), book.rows)
            certificate.after = assembly.certify()
        except AssemblyError as error:
            fault, cut_short = error, _cut_short(error)
    evidence = Evidence(
        before=certificate.before,
        after=certificate.after,
        foreign_bytes=faults(certificate.bytes),
        losses=[*cut_short, *ending.losses],
        overruns=ending.overruns,
        cpu_busy=ending.cpu_busy,
        slots=summarise_slots(slots, book.rows, spec.slots.slot_s, workload.duration_s) if spec.slots else None,
        interval=workload.interval,
    )
    summary = summarise(
        policy.name,
        book.rows,
        issued=book.issued,
        duration_s=workload.duration_s if spec.chained_s is None else book.last_s,
        event_times_s=instants_s(events),
        evidence=evidence,
        scenario=loadgen(workload.arrivals, book.rows),
    )
    ended = {**manifest, "events": msgspec.to_builtins(ending.events), "overruns": ending.overruns}
    if ending.clocks:
        ended["clocks"] = msgspec.to_builtins(ending.clocks)
    ended["cpu_busy"] = {name: [round(busy, 3) for busy in parts] for name, parts in ending.cpu_busy.items()}
    stored.finish(ended, certificate, summary)
    if fault is not None:
        raise fault
    return certificate.after


class Book:
    """The ledger as it fills: every job once, stored as it comes."""

    def __init__(self, inputs: Inputs, policy: str, stored: StoredRun) -> None:
        self._open = {job.job_id: job for job in inputs.jobs}
        self._devices = {job.device for job in inputs.jobs}
        self._labels, self._policy, self._stored = inputs.labels, policy, stored
        self.issued = len(inputs.jobs)
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

    @property
    def last_s(self) -> float:
        """When the last job was answered, or issued where it was not, from the run's start."""
        return max((row.arrival_s + (row.completion_ms or 0.0) / 1e3 for row in self.rows), default=0.0)

    def withdraw(self, lost: Lost) -> None:
        """Take out the jobs that were never issued, where each waits for the last: all after a device's last row, but
        for the one that a process may have been at when it died."""
        last = {row.device: row.job_id for row in sorted(self.rows, key=lambda row: row.job_id)}
        at_work = set[str]()
        for job in list(self._open.values()):
            if job.job_id < last.get(job.device, 0):
                continue  # its row is missing, and the verdict will say so
            if job.device not in at_work and lost(job.device):
                at_work.add(job.device)
                continue
            del self._open[job.job_id]
            self.issued -= 1

    def close(self, lost: Lost, fault: BaseException | None = None) -> None:
        """Account for the jobs whose device's process did not live to do so: nobody knows whether they were sent."""
        cut_short = next(iter(_cut_short(fault)), None)
        reasons = {device: why for device in self._devices if (why := lost(device) or cut_short)}
        if not reasons:
            return  # asked at every poll, and there may be many jobs
        self.add(
            [
                ledger.unanswered(
                    job,
                    self._policy,
                    None,
                    Outcome.FAILED,
                    reason,
                    dispatch_ms=None,
                    payload_bytes=0,
                    wire_bytes=0,
                    label=self._labels[job.image],
                    attempts=0,
                )
                for job in list(self._open.values())
                if (reason := reasons.get(job.device))  # without one its row is missing, and the verdict says so
            ]
        )


def _stored(slots: list[SlotRow], stored: StoredRun) -> list[SlotRow]:
    stored.append_slots(slots)
    return slots


def _spec(
    assembly: Assembly, workload: Workload, events: Events, policy: PolicySpec, seed: int, inputs: Inputs
) -> RunSpec:
    chained = isinstance(workload.arrivals, SingleStream)
    drain_s = max((job.arrival_s + job.deadline_s for job in inputs.jobs), default=0.0)
    return RunSpec(
        topology=assembly.topology,
        nodes=assembly.nodes,
        checkpoint=workload.model.checkpoint,
        runtime=workload.model.runtime,
        images=workload.model.images,
        store=str(inputs.store),
        choosable=inputs.choosable,
        profile=inputs.profile,
        labels=inputs.labels,
        policy=policy.name,
        options=policy.options,
        estimate_error=workload.offloading.estimate_error,
        search_path=search_path(),
        seed=seed,
        jobs=inputs.jobs,
        drain_s=workload.duration_s + drain_s if chained else drain_s,
        chained_s=workload.duration_s if chained else None,
        slots=_slots(workload, policy),
        node_events=tuple(event for event in events if isinstance(event, StopEvent | StartEvent)),
    )


def _slots(workload: Workload, policy: PolicySpec) -> SlotSpec | None:
    return SlotSpec(workload.offloading.slot_s, workload.deadlines_s[0]) if decides_slots(policy.name) else None


def _cut_short(fault: BaseException | None) -> list[str]:
    if fault is None:
        return []
    return ["the run was interrupted" if isinstance(fault, KeyboardInterrupt) else str(fault)]


def instants_s(events: Events) -> set[float]:
    """When something begins or ends to be otherwise."""
    return {event.at_s for event in events} | {event.until_s for event in events if isinstance(event, CutEvent)}
