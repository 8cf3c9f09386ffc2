"""The block of ports that machines agree on before anything is started."""

from __future__ import annotations

import socket

import pytest

from testbed.cluster.ports import Ports, chosen, free_blocks
from testbed.network.errors import RefusedError


def test_a_block_is_chosen_by_the_name_and_is_free_on_all() -> None:
    every = list(range(21_000, 31_000, 200))
    assert chosen("star", {"lab1": every, "lab2": every}) == chosen("star", {"lab1": every})
    taken = chosen("star", {"lab1": every}).first
    following = chosen("star", {"lab1": every, "lab2": [one for one in every if one != taken]}).first
    assert following != taken
    assert chosen("star", {"lab1": [21_000], "lab2": [21_000, 21_200]}) == Ports(21_000)
    with pytest.raises(RefusedError, match="are free on lab1, lab2 alike"):
        chosen("star", {"lab1": [21_000], "lab2": [21_200]})


def test_a_block_with_a_port_that_is_taken_is_not_free() -> None:
    first = free_blocks("127.0.0.1")[0]
    ports = Ports(first)
    purposes = [ports[one] for one in ("gcs", "node_manager", "client")] + [ports.clock]
    assert len({*purposes, *ports.workers}) == len(purposes) + len(ports.workers)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports["object_manager"]))
        assert first not in free_blocks("127.0.0.1")
    assert free_blocks("10.254.254.254") == []
