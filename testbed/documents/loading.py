"""Documents from files, or all that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from testbed.documents.errors import DocumentErrors
from testbed.documents.fit import workload_problems
from testbed.documents.layout import Loc, Problem, lay_out
from testbed.documents.located import Source, read_source
from testbed.documents.model import Model
from testbed.documents.resolved import ResolvedTopology
from testbed.documents.topology import Topology
from testbed.documents.workload import Workload

_Document = TypeVar("_Document", bound=Model)


def load_topology(path: Path) -> Topology:
    """The topology in a file. Raises DocumentErrors."""
    return parse_topology(read_source(path))


def load_workload(path: Path, topology: ResolvedTopology | None = None) -> Workload:
    """The workload in a file, checked against the topology where one is given. Raises DocumentErrors."""
    return parse_workload(read_source(path), topology)


def parse_topology(source: Source) -> Topology:
    """The topology that a source holds. Raises DocumentErrors."""
    return _parse(source, Topology, lambda broken: lay_out(source.data, broken).problems)


def parse_workload(source: Source, topology: ResolvedTopology | None = None) -> Workload:
    """The workload that a source holds. Raises DocumentErrors."""
    return _parse(source, Workload, lambda broken: workload_problems(source.data, topology, broken))


def kind_of(source: Source) -> type[Topology] | type[Workload]:
    """Which document a source holds: the one that has more of its fields. Raises DocumentErrors if neither has."""
    given = set(source.data) if isinstance(source.data, dict) else set()
    kinds: tuple[type[Topology], type[Workload]] = (Topology, Workload)
    fields = {kind: [field.alias or name for name, field in kind.model_fields.items()] for kind in kinds}
    topology, workload = (len(given.intersection(fields[kind])) for kind in kinds)
    if topology == workload:
        allowed = "; ".join(f"a {kind.__name__.lower()} has {', '.join(fields[kind])}" for kind in kinds)
        raise DocumentErrors([*source.problems, source.error((), f"is neither a topology nor a workload: {allowed}")])
    return Topology if topology > workload else Workload


def _parse(source: Source, kind: type[_Document], relations: Callable[[list[Loc]], list[Problem]]) -> _Document:
    if (found := kind_of(source)) is not kind:
        text = f"is a {found.__name__.lower()}, a {kind.__name__.lower()} is expected"
        raise DocumentErrors([source.error((), text)])
    problems: list[Problem] = []
    document = None
    try:
        document = kind.model_validate(source.data)
    except ValidationError as error:
        problems = [(each["loc"], each["msg"]) for each in error.errors(include_url=False)]
    problems += relations([loc for loc, _ in problems])
    errors = [*source.problems, *(source.error(loc, text) for loc, text in problems)]
    if document is None or errors:
        raise DocumentErrors(errors)
    return document
