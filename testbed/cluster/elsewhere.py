"""A command inside a node that lies on another machine, over SSH."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from testbed.network.state import State


def run_on(machine: str, state: State, node: str, argv: Sequence[str]) -> int:
    """Run a command inside a node of another machine, with this process's streams; its exit status.

    Raises:
        MachinesError: the machine cannot be reached.
    """
    from testbed.cluster.ssh import all_connected

    where = next(one for one in state.topology.machines if one.name == machine)
    with all_connected([where]) as remotes:
        words = [where.python, "-m", "testbed", "exec", "--name", state.name, node, "--", *argv]
        return remotes[machine].stream(words, sys.stdin.fileno(), sys.stdout.buffer, sys.stderr.buffer)
