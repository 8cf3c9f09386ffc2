"""The ports of a testbed on its machines: one block, the same everywhere, below those that the kernel gives away."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Collection, Mapping

import msgspec

from testbed.network.errors import RefusedError

_FIRST, _LAST, _SIZE = 21_000, 31_000, 200
_OF_WORKERS = 20  # of a block, from here on
_PURPOSES = ("gcs", "node_manager", "object_manager", "metrics", "runtime_env", "agent_grpc", "agent_http", "client")


class Ports(msgspec.Struct, frozen=True):
    """One block, by its first port."""

    first: int

    def __getitem__(self, purpose: str) -> int:
        return self.first + _PURPOSES.index(purpose)

    @property
    def clock(self) -> int:
        """UDP: where other machines ask for the time."""
        return self.first + len(_PURPOSES)

    @property
    def workers(self) -> range:
        """Those of Ray's workers."""
        return range(self.first + _OF_WORKERS, self.first + _SIZE)


def free_blocks(address: str) -> list[int]:
    """The blocks whose ports are all free at an address of this machine, but for those of workers, of which Ray takes
    what is free."""
    return [first for first in range(_FIRST, _LAST, _SIZE) if _is_free(address, Ports(first))]


def chosen(name: str, free: Mapping[str, Collection[int]]) -> Ports:
    """A block that is free on every machine; which, depends on the testbed's name.

    Raises:
        RefusedError: there is none.
    """
    blocks = range(_FIRST, _LAST, _SIZE)
    start = zlib.crc32(name.encode()) % len(blocks)
    for first in (*blocks[start:], *blocks[:start]):
        if all(first in found for found in free.values()):
            return Ports(first)
    raise RefusedError(
        f"no {_SIZE} ports between {_FIRST} and {_LAST} are free on {', '.join(free)} alike: take another testbed down"
    )


def _is_free(address: str, ports: Ports) -> bool:
    wanted = [(socket.SOCK_STREAM, ports[purpose]) for purpose in _PURPOSES] + [(socket.SOCK_DGRAM, ports.clock)]
    for kind, port in wanted:
        with socket.socket(socket.AF_INET, kind) as trial:
            try:
                trial.bind((address, port))
            except OSError:
                return False
    return True
