"""What is wrong with a document, and where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class LocatedError:
    """One thing that is wrong. Lines and columns count from 1; `path` is empty where the whole document is meant."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        field = f"{self.path}: " if self.path else ""
        return _on_one_line(f"{self.file}:{self.line}:{self.column}: {field}{self.message}")


class DocumentErrors(Exception):  # noqa: N818 (it holds several)
    """All that is wrong with a document, in the order of the file; as text, one line for each error."""

    def __init__(self, errors: list[LocatedError]) -> None:
        self.errors = tuple(sorted(set(errors)))
        super().__init__("\n".join(map(str, self.errors)))


def _on_one_line(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
