"""The testbed from Python: topologies and workloads as objects, testbeds that are up, runs as frames of pandas.

    import testbed

    topology = testbed.read_topology("topologies/star.yaml")
    workload = testbed.read_workload("workloads/steady.yaml")
    with testbed.Testbed.up(topology) as bed:
        for run in bed.run(workload.at_rate(4)):
            print(run.policy, run.summary.success_probability, run.jobs.groupby("decision").completion_ms.median())

It does what the command does, root included, and raises what the command tells as errors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import yaml

from testbed.documents.events import resolve_events
from testbed.documents.loading import parse_topology, parse_workload
from testbed.documents.located import Source, read_source
from testbed.documents.resolve import resolve
from testbed.documents.resolved import ResolvedTopology
from testbed.documents.topology import Topology
from testbed.documents.workload import Workload
from testbed.network.errors import RefusedError
from testbed.network.ownership import require_root
from testbed.network.probe import choose_shaping
from testbed.reporting.live import Standing
from testbed.reporting.load import Load
from testbed.reporting.stored_run import StoredRun
from testbed.reporting.stored_run import open_run as open_stored
from testbed.reporting.summary import Summary
from testbed.runtime.lifecycle import Running, attached, brought_up, topology_up
from testbed.workload.inputs import Inputs, check_policies, draw_inputs, prepare_payloads
from testbed.workload.load import find_loads
from testbed.workload.simulated import simulate_series
from testbed.workload.turns import Turns

Document = Path | str | Mapping[str, Any]
"""A file's path, or what would stand in it."""
Tell = Callable[[str], None]
Watch = Callable[[Standing], None]

RESULTS = Path("results")


def read_topology(document: Document) -> Topology:
    """A topology from its file, or from a mapping of what would stand there; files named there are sought from here.

    Raises:
        DocumentErrors: all that is wrong with it, with the places.
    """
    return parse_topology(_source(document, "topology"))


def read_workload(document: Document, topology: Topology | None = None) -> Workload:
    """A workload, likewise; checked against a topology where one is given.

    Raises:
        DocumentErrors: all that is wrong with it, with the places.
    """
    return parse_workload(_source(document, "workload"), resolve(topology) if topology else None)


class Run:
    """A run that is stored: its figures, and its tables as frames of pandas."""

    def __init__(self, path: Path | str) -> None:
        """Raises NotARun where there is none; a run that was cut short has what it kept."""
        self._stored = open_stored(Path(path))

    def __repr__(self) -> str:
        return f"<Run {self.path}: {self.summary.verdict}>"

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._stored.path

    @property
    def policy(self) -> str:
        """The policy that decided."""
        return self.summary.policy

    @cached_property
    def summary(self) -> Summary:
        """Its figures and its verdict."""
        return self._stored.summary

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """All that it depended on."""
        return self._stored.manifest

    @cached_property
    def jobs(self) -> pd.DataFrame:
        """The ledger, a row for each job."""
        return self._stored.jobs()

    @cached_property
    def links(self) -> pd.DataFrame:
        """The channel as it was applied."""
        return self._stored.links()

    @cached_property
    def slots(self) -> pd.DataFrame | None:
        """The slots, where the policy decides slots."""
        return self._stored.slots()


class Testbed:
    """A testbed that is up."""

    __test__ = False  # pytest takes it for a class of tests by its name

    def __init__(self, running: Running, tell: Tell) -> None:
        """Use `up` or `attach`."""
        self.topology: ResolvedTopology = running.topology
        self._tell, self._turns = tell, Turns(running)

    @classmethod
    @contextlib.contextmanager
    def up(
        cls, topology: Topology, *, name: str | None = None, shaping: str = "auto", tell: Tell = lambda step: None
    ) -> Iterator[Testbed]:
        """Bring a testbed up for the block, under the topology's name or another; `tell` hears of each step.

        Raises:
            RefusedError: not as root, or over several machines: that is for the command.
            NetworkError, RayError, AssemblyError: it could not be brought up; nothing is left of it.
        """
        plan = resolve(topology)
        _only_here(plan)
        if name is not None:
            plan = msgspec.structs.replace(plan, name=name)
        with brought_up(plan, choose_shaping(shaping), keep=False, tell=tell) as running:
            yield cls(running, tell)

    @classmethod
    @contextlib.contextmanager
    def attach(cls, name: str | None = None, *, tell: Tell = lambda step: None) -> Iterator[Testbed]:
        """Hold for the block a testbed that `testbed up` brought up, and leave it up.

        Raises:
            RefusedError: as `up` does.
            NetworkError: none of that name is up, or another command holds it.
        """
        _only_here(topology_up(name))
        with attached(name) as running:
            yield cls(running, tell)

    def run(
        self,
        workload: Workload,
        *,
        seed: int | None = None,
        output: Path | str = RESULTS,
        watch: Watch = lambda standing: None,
    ) -> list[Run]:
        """Run a workload, once for each of its policies, on identical arrivals, photographs and channel.

        Args:
            workload: what to run.
            seed: if not the workload's.
            output: where runs are stored.
            watch: hears how runs stand, twice a second.

        Raises:
            ValueError: the workload does not fit the topology.
            PolicyError, CheckpointError, ModelError, PhotographError: nor what it names.
            AssemblyError: a process of the testbed died; what was run is stored.
        """
        return [Run(stored.path) for stored in self._run(workload, seed, Path(output), watch)]

    def find_load(
        self, workload: Workload, *, success: float = 0.95, seed: int | None = None, output: Path | str = RESULTS
    ) -> list[Load]:
        """Search, for each of the workload's policies, for the highest rate of arrivals at which the success
        probability asked is held, from the workload's own rate; every rate tried is a run.

        Raises:
            ValueError: the arrivals have no rate; and as `run` does.
        """

        def run_all(alone: Workload) -> list[StoredRun]:
            return self._run(alone, seed, Path(output), lambda standing: None)

        devices = len(self.topology.devices)
        return find_loads(workload, devices, run_all, success=success, output=Path(output), tell=self._tell)

    def _run(self, workload: Workload, seed: int | None, output: Path, watch: Watch) -> list[StoredRun]:
        drawn_seed = workload.seed if seed is None else seed
        inputs = _inputs(workload, self.topology, drawn_seed, simulated=False)
        return self._turns.run(workload, drawn_seed, inputs, output, self._tell, watch)


def simulate(
    topology: Topology,
    workload: Workload,
    *,
    seed: int | None = None,
    output: Path | str = RESULTS,
    tell: Tell = lambda step: None,
    watch: Watch = lambda standing: None,
) -> list[Run]:
    """Run a workload on a model of the testbed, once for each of its policies: no network, no root.

    Raises:
        ValueError, PolicyError, CheckpointError, ModelError, PhotographError: as `Testbed.run` does.
    """
    plan, drawn_seed = resolve(topology), workload.seed if seed is None else seed
    inputs = _inputs(workload, plan, drawn_seed, simulated=True)
    runs = simulate_series(plan, workload, drawn_seed, inputs, Path(output), tell, watch)
    return [Run(stored.path) for stored in runs]


def _inputs(workload: Workload, topology: ResolvedTopology, seed: int, *, simulated: bool) -> Inputs:
    resolve_events(workload, topology)  # which finds what does not fit, before anything is computed
    inputs = draw_inputs(workload, topology, seed, _unseen)
    check_policies(workload, topology, inputs.profile, seed)
    prepare_payloads(workload, topology, inputs, _unseen, simulated=simulated)
    return inputs


def _only_here(topology: ResolvedTopology) -> None:
    require_root()
    if topology.machines:  # Ray must be told where to listen before the program begins, which the command sees to
        raise RefusedError("a testbed over several machines is run by the command: testbed run --topology FILE")


def _source(document: Document, what: str) -> Source:
    if isinstance(document, Mapping):
        return Source(f"<{what}>", yaml.safe_dump(dict(document), sort_keys=False))
    return read_source(Path(document))


def _unseen(share: float) -> None:
    pass
