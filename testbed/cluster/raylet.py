"""A raylet on another machine: what that machine must have, and its start, which begins the testbed's part there."""

from __future__ import annotations

import msgspec

from testbed.cluster.ports import Ports
from testbed.cluster.ray_node import RayError, start_node, write_token
from testbed.documents.resolved import ResolvedTopology
from testbed.network.diagnosis import require
from testbed.network.errors import AlreadyUpError, NetworkError
from testbed.network.ownership import Ownership, names_up
from testbed.network.probe import choose_shaping


class Order(msgspec.Struct, frozen=True):
    """What a machine is told to start."""

    name: str  # the testbed's
    machine: str  # what this machine is called in it
    address: str  # this machine's
    head: str  # where the head listens
    token: str
    ports: Ports


class Wanted(msgspec.Struct, frozen=True):
    """What a machine must be able to do."""

    topology: ResolvedTopology
    shaping: str


def required(wanted: Wanted) -> None:
    """Goes on if this machine can do what is wanted. Makes nothing.

    Raises:
        RefusedError: it cannot; says what is missing, and what mends it. Or it has a testbed of that name.
    """
    name = wanted.topology.name
    if name in names_up():
        raise AlreadyUpError(f"testbed {name!r} is up there already: take it down first (testbed down {name})")
    require(wanted.topology)
    choose_shaping(wanted.shaping)


def begin(order: Order) -> int:
    """Begins a testbed's part on this machine with a raylet; returns its process.

    Raises:
        NetworkError: it could not be started; nothing is left of it.
    """
    ownership = Ownership.create(order.name, order.machine)
    try:
        token = write_token(ownership, order.token)
        pid, _ = start_node(ownership, token, address=order.address, ports=order.ports, head=order.head)
    except RayError as error:
        ownership.undo()
        raise NetworkError(str(error)) from error
    except BaseException:
        ownership.undo()
        raise
    ownership.release()
    return pid
