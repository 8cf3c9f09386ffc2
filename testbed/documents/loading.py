"""Documents from files, or all that is wrong with them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from testbed.documents.arrival_trace import parse_arrivals
from testbed.documents.arrivals import Trace as Arrived
from testbed.documents.channels import Trace
from testbed.documents.errors import DocumentErrors, LocatedError
from testbed.documents.fit import workload_problems
from testbed.documents.layout import Loc, Problem, lay_out
from testbed.documents.located import Source, decoded, read_source
from testbed.documents.model import Model
from testbed.documents.parameters import highest, too_much_under_way
from testbed.documents.resolved import ResolvedTopology, Schedule
from testbed.documents.topology import Topology
from testbed.documents.traces import parse_trace
from testbed.documents.workload import Workload

MAX_TRACE_BYTES = 64 * 1024 * 1024

_Document = TypeVar("_Document", bound=Model)


def load_topology(path: Path) -> Topology:
    """The topology in a file. Raises DocumentErrors."""
    return parse_topology(read_source(path))


def load_workload(path: Path, topology: ResolvedTopology | None = None) -> Workload:
    """The workload in a file, checked against the topology where one is given. Raises DocumentErrors."""
    return parse_workload(read_source(path), topology)


def parse_topology(source: Source) -> Topology:
    """The topology that a source holds, with what the traces hold that it names. Raises DocumentErrors."""
    topology = _parse(source, Topology, lambda broken: lay_out(source.data, broken).problems)
    named = list(topology.traces)
    recorded: dict[Trace, Schedule] = {}
    errors: list[LocatedError] = []
    for trace, loc in {trace: loc for loc, _, trace in named}.items():
        path = Path(source.file).parent / trace.file
        try:
            recorded[trace] = parse_trace(str(path), _trace_text(path), loop=trace.loop, window_s=trace.window_s)
        except _UnreadableError as error:
            errors.append(source.error((*loc, "file"), str(error)))
        except DocumentErrors as found:
            errors += found.errors
    most = {trace: highest(schedule.changes) for trace, schedule in recorded.items()}
    for loc, given, trace in named:
        if trace in most and (problem := too_much_under_way([given, most[trace]])):
            errors.append(source.error(loc, problem))
    if errors:
        raise DocumentErrors(errors)
    return topology.with_traces(recorded)


class _UnreadableError(Exception):
    """A trace of which nothing can be said but that it cannot be read."""


def _trace_text(path: Path) -> str:
    try:
        with open(path, "rb", opener=_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise _UnreadableError(f"{str(path)!r} is not a regular file")
            content = stream.read(MAX_TRACE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise _UnreadableError(f"{str(path)!r} cannot be read: {reason}") from None
    if len(content) > MAX_TRACE_BYTES:
        raise _UnreadableError(f"{str(path)!r} is larger than the {MAX_TRACE_BYTES:,} bytes that a trace may have")
    return decoded(str(path), content)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would be waited for


def parse_workload(source: Source, topology: ResolvedTopology | None = None) -> Workload:
    """The workload that a source holds, with the arrivals of the trace that it names. Raises DocumentErrors."""
    workload = _parse(source, Workload, lambda broken: workload_problems(source.data, topology, broken))
    arrivals = workload.arrivals
    if not isinstance(arrivals, Arrived) or arrivals.file is None:
        return workload
    path, loc = Path(source.file).parent / arrivals.file, ("arrivals", "file")
    try:
        times = parse_arrivals(str(path), _trace_text(path))
    except _UnreadableError as error:
        raise DocumentErrors([source.error(loc, str(error))]) from None
    recorded = workload.model_copy(
        update={"arrivals": Arrived.model_construct(process="trace", file=None, times=times)}
    )
    if topology is not None and (problems := workload_problems(recorded.document(), topology)):
        raise DocumentErrors([source.error(loc, f"{arrivals.file!r}: {text}") for _, text in problems])
    return recorded


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
