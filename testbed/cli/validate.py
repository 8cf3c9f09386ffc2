"""`testbed validate`: checks files without touching anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from testbed.documents.resolved import ResolvedTopology
    from testbed.documents.workload import Workload


def validate(
    files: Annotated[list[Path], typer.Argument(help="Topologies and workloads, in any order.", show_default=False)],
) -> None:
    """Check topology and workload files; with one topology among them, the workloads are checked against it too."""
    from testbed.documents.errors import DocumentErrors
    from testbed.documents.loading import kind_of, parse_topology, parse_workload
    from testbed.documents.located import Source, read_source
    from testbed.documents.resolve import resolve
    from testbed.documents.topology import Topology

    errors: list[str] = []
    sources: list[Source] = []
    topologies: dict[int, ResolvedTopology] = {}
    for file in files:
        try:
            source = read_source(file)
            if kind_of(source) is Topology:
                topologies[len(sources)] = resolve(parse_topology(source))
            sources.append(source)
        except DocumentErrors as found:
            errors.append(str(found))
    only = next(iter(topologies.values())) if len(topologies) == 1 else None
    for index, source in enumerate(sources):
        try:
            summary = _topology(topologies[index]) if index in topologies else _workload(parse_workload(source, only))
            print(f"{source.file}: ok ({summary})")
        except DocumentErrors as found:
            errors.append(str(found))
    if errors:
        print("\n".join(errors), file=sys.stderr)
        raise typer.Exit(2)


def _topology(topology: ResolvedTopology) -> str:
    devices, edges = _counted(len(topology.devices), "device"), _counted(len(topology.edges), "edge")
    return f"topology, {devices}, {edges}, {_counted(len(topology.links), 'link')}"


def _workload(workload: Workload) -> str:
    policies = _counted(len(workload.policies), "policy", "policies")
    return f"workload, {workload.duration_s:g} s, {policies}, {_counted(len(workload.events), 'event')}"


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
