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

Series = Callable[[Workload, int, Inputs, Path, Tell, Callable[[Standing], None]], list[StoredRun]]
"""What runs a workload under each of its policies, on a testbed or on a model of one."""


class Turns:
    """Runs workloads, the first with the links as measured when the testbed came up, each further one with them as
    measured after the last; anew where that one is INVALID."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def run(
        self,
        workload: Workload,
        seed: int,
        inputs: Inputs,
        output: Path,
        tell: Tell,
        watch: Callable[[Standing], None],
    ) -> list[StoredRun]:
        """As `run_series` does."""
        runs = run_series(self._running, workload, seed, inputs, output, tell, watch)
        self._running = msgspec.structs.replace(self._running, certificate=_after(runs[-1]))
        return runs


def _after(run: StoredRun) -> list[CertificateEntry]:
    if run.summary.verdict != VALID:
        return []
    return msgspec.json.decode((run.path / "certificate.json").read_bytes(), type=Certificate).after
