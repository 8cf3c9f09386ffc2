"""A topology from the command line: read, named, resolved."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from testbed.cli.errors import WrongInputError
from testbed.documents.loading import load_topology
from testbed.documents.resolve import resolve
from testbed.documents.resolved import ResolvedTopology


def resolved(path: Path, name: str | None) -> ResolvedTopology:
    """The topology in a file, under another name if one is given.

    Raises:
        DocumentErrors: the file is wrong.
        WrongInputError: the name is no name.
    """
    return named(resolve(load_topology(path)), name)


def named(topology: ResolvedTopology, name: str | None) -> ResolvedTopology:
    """The topology under another name if one is given.

    Raises:
        WrongInputError: it is no name.
    """
    if name is None:
        return topology
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,29}", name):
        raise WrongInputError(f"--name: {name!r}: must be a lower-case letter, then at most 29 of a-z, 0-9 and -")
    return msgspec.structs.replace(topology, name=name)
