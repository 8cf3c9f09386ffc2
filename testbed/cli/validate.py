"""`testbed validate`: checks files without touching anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from testbed.documents.located import Source
    from testbed.documents.resolved import ResolvedTopology
    from testbed.documents.workload import Workload


def validate(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Topologies and workloads, in any order.", show_default=False)
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Try a policy out: package.module:Class, or with options as in a workload, {name: ..., ...}.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check topology and workload files, workloads against the topology if there is one; or try a policy out."""
    from testbed.cli.errors import WrongInputError

    if not files and policy is None:
        raise WrongInputError("name files to check, or a policy with --policy")
    if policy is not None:
        from testbed.cli.policies import try_out

        try_out(policy)
    if files:
        _validate(files)


def _validate(files: list[Path]) -> None:
    from testbed.documents.errors import DocumentErrors
    from testbed.documents.loading import kind_of, parse_topology, parse_workload
    from testbed.documents.located import read_source
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
            if index in topologies:
                summary = _topology(topologies[index])
            else:
                workload = parse_workload(source, only)
                _check_model(workload.model.checkpoint, source)
                summary = _workload(workload)
            print(f"{source.file}: ok ({summary})")
        except DocumentErrors as found:
            errors.append(str(found))
    if errors:
        print("\n".join(errors), file=sys.stderr)
        raise typer.Exit(2)


def _check_model(name: str, source: Source) -> None:
    """Refuse a class of the user's own that cannot be run as a model; nothing is computed with it."""
    from testbed.documents.errors import DocumentErrors
    from testbed.documents.workload import is_class

    if not is_class(name):
        return

    from testbed.aecnn.own.loading import load_own
    from testbed.aecnn.own.protocol import ModelError
    from testbed.runtime.user_modules import make_importable, search_path

    make_importable(search_path())
    try:
        load_own(name)
    except ModelError as error:
        raise DocumentErrors([source.error(("model",), str(error))]) from error


def _topology(topology: ResolvedTopology) -> str:
    devices, edges = _counted(len(topology.devices), "device"), _counted(len(topology.edges), "edge")
    return f"topology, {devices}, {edges}, {_counted(len(topology.links), 'link')}"


def _workload(workload: Workload) -> str:
    policies = _counted(len(workload.policies), "policy", "policies")
    return f"workload, {workload.duration_s:g} s, {policies}, {_counted(len(workload.events), 'event')}"


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
