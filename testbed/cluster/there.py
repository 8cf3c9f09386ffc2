"""What the driver's machine asks of this one over SSH: `python -m testbed.cluster.there VERB`, JSON in and out.

The argument comes on stdin, the reply is the last line on stdout. A failure is one line on stderr and exit status 1.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
import typing

import msgspec

from testbed.network.errors import NetworkError

VERBS = {
    "facts": "testbed.cluster.facts:facts",
    "require": "testbed.cluster.raylet:required",
    "raylet": "testbed.cluster.raylet:begin",
    "survey": "testbed.cluster.surveys:survey_here",
    "undo": "testbed.cluster.undo:undo_here",
    "software": "testbed.cluster.facts:installed",
}
"""The functions behind the verbs; each takes one argument, of the type that it is annotated with."""

_SBIN = ":/usr/local/sbin:/usr/sbin:/sbin"  # where ip and tc lie, which sudo may leave out


def main() -> None:
    """Run one verb."""
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + _SBIN
    verb = sys.argv[1]
    if verb not in VERBS:
        sys.exit(f"this testbed knows no {verb!r}: it is of another version")
    module, name = VERBS[verb].split(":")
    function = getattr(importlib.import_module(module), name)
    kind = typing.get_type_hints(function)[next(iter(inspect.signature(function).parameters))]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            reply = function(msgspec.json.decode(sys.stdin.buffer.read(), type=kind))
    except (NetworkError, OSError, msgspec.DecodeError) as error:
        sys.exit(" ".join(str(error).split()))
    sys.stdout.buffer.write(msgspec.json.encode(reply) + b"\n")


if __name__ == "__main__":
    main()
