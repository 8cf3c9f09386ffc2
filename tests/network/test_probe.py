"""Which shaping is chosen, and what is said when it cannot be had."""

from __future__ import annotations

import socket

import pytest

from testbed.network.errors import ShapingUnavailableError
from testbed.network.probe import choose_shaping, netem_fault
from testbed.network.shape import Shaping

pytestmark = pytest.mark.root


def test_auto_takes_netem_where_it_works_and_the_relay_elsewhere() -> None:
    before = socket.if_nameindex()
    assert choose_shaping() is (Shaping.RELAY if netem_fault() else Shaping.NETEM)
    assert socket.if_nameindex() == before


def test_the_relay_can_always_be_asked_for() -> None:
    assert choose_shaping("relay") is Shaping.RELAY


@pytest.mark.netem
def test_netem_can_be_asked_for_where_it_works() -> None:
    assert choose_shaping("netem") is Shaping.NETEM


def test_netem_that_is_missing_is_told_with_the_remedy() -> None:
    if netem_fault() is None:
        pytest.skip("this kernel has netem")
    with pytest.raises(ShapingUnavailableError, match=r"kind is unknown.*--shaping relay.*modprobe sch_netem"):
        choose_shaping("netem")


def test_a_shaping_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(ShapingUnavailableError, match="no shaping 'tbf': there are auto, netem, relay"):
        choose_shaping("tbf")
