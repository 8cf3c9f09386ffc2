"""What a page shows of a run, read once from its folder; a run that was cut short lacks some of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from testbed.documents.resolved import ResolvedTopology
from testbed.jobs.ledger import Outcome
from testbed.network.certify import CertificateEntry
from testbed.reporting.figures_svg import Truths, Values
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.summary import Summary


class Unreadable(ValueError):  # noqa: N818  said of a file
    """A file of a run is not what runs write."""


class Proof(msgspec.Struct, frozen=True):
    """`certificate.json`."""

    before: list[CertificateEntry] = []
    after: list[CertificateEntry] = []
    bytes: list[dict[str, Any]] = []  # of each direction, what it carried beside what the run explains


class _Event(msgspec.Struct):
    at_s: float
    applied_s: float | None = None
    what: str = ""


class _Policy(msgspec.Struct):
    options: dict[str, Any] = {}


class _Machine(msgspec.Struct):
    nodes: list[str] = []


class _Manifest(msgspec.Struct):
    """What of `manifest.json` pages rely on; all of it may be missing."""

    workload: dict[str, Any] = {}
    policy: _Policy = msgspec.field(default_factory=_Policy)
    topology: ResolvedTopology | None = None
    versions: dict[str, str] = {}
    load_average: list[float] = []
    cpu_busy: dict[str, list[float]] = {}
    events: list[_Event] = []
    machines: dict[str, _Machine] = {}
    clocks: dict[str, dict[str, float]] = {}


class Shown(msgspec.Struct, frozen=True):
    """A run as a page shows it."""

    label: str  # the policy's name, numbered where several runs have the same
    folder: str
    summary: Summary
    jobs: pd.DataFrame
    links: pd.DataFrame
    manifest: dict[str, Any]
    topology: ResolvedTopology | None  # None: the manifest has none
    proof: Proof

    @property
    def links_by(self) -> str:
        """What the links were: a backend, or the model of a simulation."""
        shaping = self.manifest.get("shaping")
        return "" if shaping is None else shaping if shaping == "simulated" else f"emulated by {shaping}"

    def seconds(self) -> float:
        """From the run's start to its last arrival at least, and to the end of arrivals where it is known."""
        return max(self.summary.duration_s, float(self.jobs["arrival_s"].max()) if len(self.jobs) else 0.0, 1e-3)

    def is_(self, *outcomes: Outcome) -> Truths:
        """Which jobs ended so."""
        truths: Truths = self.jobs["outcome"].isin([outcome.value for outcome in outcomes]).to_numpy(bool)
        return truths

    def column(self, name: str) -> Values:
        """A column of numbers of the jobs; what did not happen is no number."""
        values: Values = self.jobs[name].to_numpy(np.float64, na_value=np.nan)
        return values


def read(stored: StoredRun, label: str | None = None) -> Shown:
    """A run, finished or cut short.

    Raises:
        Unreadable: a file of it is not what runs write.
    """
    certificate = stored.path / "certificate.json"
    with _naming(stored.path / "manifest.json"):
        topology = msgspec.convert(stored.manifest, _Manifest).topology
    with _naming(certificate):
        proof = msgspec.json.decode(certificate.read_bytes(), type=Proof) if certificate.exists() else Proof()
    summary = stored.summary
    return Shown(
        label=label or summary.policy,
        folder=stored.path.resolve().name,
        summary=summary,
        jobs=stored.jobs(),
        links=stored.links(),
        manifest=stored.manifest,
        topology=topology,
        proof=proof,
    )


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except msgspec.DecodeError as error:  # of which a wrong type is one
        raise Unreadable(f"{path}: {error}") from error
