"""Workloads one after another on a testbed that stays up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from testbed.documents.workload import Workload
from testbed.network.certify import CertificateEntry
from testbed.reporting.live import Standing
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.verdict import VALID
from testbed.runtime.lifecycle import Running, Tell
from testbed.workload.inputs import Inputs
from testbed.workload.run import Certificate
from testbed.workload.series import run_series


def in_turn(
    running: Running,
    seed: int,
    inputs: Callable[[Workload], Inputs],
    output: Path,
    tell: Tell,
    watch: Callable[[Standing], None],
) -> Callable[[Workload], list[StoredRun]]:
    """What runs a workload under each of its policies: the first with the links as measured when the testbed came up,
    each further one with them as measured after the last; anew where that one is INVALID."""

    def run_all(workload: Workload) -> list[StoredRun]:
        nonlocal running
        runs = run_series(running, workload, seed, inputs(workload), output, tell, watch)
        running = msgspec.structs.replace(running, certificate=_after(runs[-1]))
        return runs

    return run_all


def _after(run: StoredRun) -> list[CertificateEntry]:
    if run.summary.verdict != VALID:
        return []
    return msgspec.json.decode((run.path / "certificate.json").read_bytes(), type=Certificate).after
