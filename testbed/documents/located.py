"""YAML read into plain values that remember where they stood.

Only the safe core of YAML is taken: no tags, no duplicate keys, one document, text keys, and the plain scalars of
YAML 1.2 (so `no` and `10:30` are text). Size, depth and the number of nodes after aliases are bounded.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from testbed.documents.errors import DocumentErrors, LocatedError
from testbed.documents.model import KEY, shown

MAX_BYTES = 1024 * 1024
MAX_NODES = 100_000  # after aliases
MAX_DEPTH = 50

Loc = tuple[str | int, ...]

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"(true|True|TRUE)|(false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]{1,1000}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class Source:
    """A document's values, and the place of each."""

    def __init__(self, file: str, text: str) -> None:
        """Reads `text`; `file` is its name in errors. Raises DocumentErrors for what is not (our) YAML."""
        self.file = file
        self._places: dict[Loc, yaml.Mark] = {}
        self._nodes = 0
        self.problems: list[LocatedError] = []
        self.data: Any = self._plain(_compose(file, text), (), ())

    def error(self, loc: Loc, message: str) -> LocatedError:
        """An error at a field; one whose location the document does not hold is placed at its nearest parent."""
        path: Loc = tuple(each for each in loc if not str(each).startswith("<"))  # the tags of pydantic's unions
        place = path
        while place not in self._places and place:
            place = place[:-1]
        line, column = (self._places[place].line, self._places[place].column) if place in self._places else (0, 0)
        return LocatedError(self.file, line + 1, column + 1, dotted(path), message)

    def _plain(self, node: yaml.Node, loc: Loc, within: tuple[int, ...]) -> Any:
        self._nodes += 1
        if id(node) in within:
            raise self._stop(node, loc, "an alias stands inside what it repeats, write the values out")
        if self._nodes > MAX_NODES:
            raise self._stop(node, loc, f"the document has more than {MAX_NODES:,} values, aliases counted out")
        if len(within) > MAX_DEPTH:
            raise self._stop(node, loc, f"nested more than {MAX_DEPTH} deep")
        self._places[loc] = node.start_mark
        within = (*within, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc, within)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(each, (*loc, index), within) for index, each in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, loc: Loc, within: tuple[int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            self._nodes += 1
            key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else key_node.value
            if not isinstance(key, str):
                self._note(key_node, loc, f"{shown(key)} is used as a name, names must be text")
            elif key in found:
                first = self._places[(*loc, key, KEY)].line + 1
                self._note(key_node, (*loc, key), f"is given twice, first on line {first}")
            else:
                self._places[(*loc, key, KEY)] = key_node.start_mark
                found[key] = self._plain(value_node, (*loc, key), within)
        return found

    def _note(self, node: yaml.Node, loc: Loc, message: str) -> None:
        self.problems.append(_at(self.file, node.start_mark, message, dotted(loc)))

    def _stop(self, node: yaml.Node, loc: Loc, message: str) -> DocumentErrors:
        return DocumentErrors([_at(self.file, node.start_mark, message, dotted(loc[:3]))])


def read_source(path: Path) -> Source:
    """The document at `path`. Raises DocumentErrors if it cannot be read, is not UTF-8, or is not (our) YAML."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _whole(file, f"is larger than the {MAX_BYTES:,} bytes that a document may have")
        return Source(file, decoded(file, content))
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise _whole(file, f"cannot be read: {reason}") from None


def decoded(file: str, content: bytes) -> str:
    """The text of a file. Raises DocumentErrors if it is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        raise DocumentErrors([_after(file, before, "is not UTF-8 text")]) from None


def dotted(loc: Loc) -> str:
    """A location as users read it: `links[0].between`."""
    text = ""
    for each in loc:
        if isinstance(each, int):
            text += f"[{each}]"
        elif each != KEY:
            name = each if re.fullmatch(r"[\w*:-]+", each) else shown(each)
            text += f".{name}" if text else name
    return text


class _Refused(yaml.MarkedYAMLError):
    """YAML, but not the YAML that a document may be."""


class _Composer(yaml.SafeLoader):
    """PyYAML's composer, which stops early at what a document may not have."""

    depth = nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self.nodes += 1
        self.depth += 1
        if getattr(event, "tag", None) is not None:
            raise _Refused(problem="tags are not allowed, remove it", problem_mark=event.start_mark)
        if self.depth > MAX_DEPTH:
            raise _Refused(problem=f"nested more than {MAX_DEPTH} deep", problem_mark=event.start_mark)
        if self.nodes > MAX_NODES:
            raise _Refused(problem=f"more than {MAX_NODES:,} values", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _compose(file: str, text: str) -> yaml.Node:
    loader: _Composer | None = None
    try:
        loader = _Composer(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        message = f"is not YAML: the character U+{error.character:04X} is not allowed"
        raise DocumentErrors([_after(file, text[: error.position], message)]) from None
    except _Refused as error:
        raise DocumentErrors([_at(file, error.problem_mark, str(error.problem))]) from None
    except yaml.MarkedYAMLError as error:
        since = f" (line {error.context_mark.line + 1})" if error.context_mark else ""
        context = f"{error.context}{since}: " if error.context else ""
        raise DocumentErrors([_at(file, error.problem_mark, f"is not YAML: {context}{error.problem}")]) from None
    except ValueError as error:  # PyYAML converts escapes and versions unchecked
        here = loader.get_mark() if loader else None
        raise DocumentErrors([_at(file, here, f"is not YAML: {error}")]) from None
    if node is None:
        raise _whole(file, "is empty, a topology or a workload is expected")
    return node


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text: str = node.value
    if node.style is not None:  # quoted
        return text
    if _NULL.fullmatch(text):
        return None
    if boolean := _BOOL.fullmatch(text):
        return boolean[1] is not None
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


def _whole(file: str, message: str) -> DocumentErrors:
    return DocumentErrors([LocatedError(file, 1, 1, "", message)])


def _after(file: str, before: str, message: str) -> LocatedError:
    lines = before.split("\n")
    return LocatedError(file, len(lines), len(lines[-1]) + 1, "", message)


def _at(file: str, mark: yaml.Mark | None, message: str, path: str = "") -> LocatedError:
    return LocatedError(file, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, path, message)
