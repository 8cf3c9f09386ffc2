"""Becoming a command inside a node, as one of the testbed's processes, with the other nodes' names known."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from testbed.network.addressing import addressing
from testbed.network.errors import NetworkError, NotUpError
from testbed.network.limits import limited_group
from testbed.network.namespace import run_in
from testbed.network.ownership import Ownership
from testbed.network.state import State


def hosts_text(state: State, node: str) -> str:
    """What a node finds as `/etc/hosts`: every node that it can reach, by the address by which it does."""
    plan = addressing(state.topology)
    lines = ["127.0.0.1 localhost"]
    for other in plan.by_node:
        try:
            lines.append(f"{plan.address(other, node)} {other}")
        except NetworkError:
            continue  # no links lead there
    return "\n".join(lines) + "\n"


def become(ownership: Ownership, state: State, node: str, argv: list[str]) -> NoReturn:
    """Makes the calling process, which must have one thread, the command inside the node.

    Raises:
        NotUpError: the node's namespace has gone.
        OSError: the command cannot be run.
    """
    if not state.nodes[node].alive:
        raise NotUpError(f"the namespace of {node} has gone: take the testbed down (testbed down {state.name})")
    ownership.enter_cgroup()  # so that what the command leaves behind goes with the testbed
    limited_group(ownership, state.topology, node).enter(os.getpid())
    hosts = ownership.folder / f"hosts-{node}"
    fresh = hosts.with_suffix(f".{os.getpid()}")
    fresh.write_text(hosts_text(state, node))
    fresh.replace(hosts)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a command would inherit that
        signal.signal(ignored, signal.SIG_DFL)
    run_in(state.nodes[node].pid, argv, hosts_file=hosts)
