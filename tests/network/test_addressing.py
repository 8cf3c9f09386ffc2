"""Interfaces, addresses and neighbours from a topology alone."""

from __future__ import annotations

import pytest

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
)
from testbed.network.addressing import addressing
from testbed.network.errors import NetworkError
from tests.network.conftest import star

LINK = LinkParameters(1e6)


def topology(links: list[tuple[str, str]], access_points: tuple[str, ...], edges: dict[str, str]) -> ResolvedTopology:
    devices = {a: tuple(b for first, b in links if first == a) for a, _ in links if a.startswith("dev")}
    return ResolvedTopology(
        "t",
        {name: ResolvedAccessPoint() for name in access_points},
        {name: ResolvedEdge(at, Compute()) for name, at in edges.items()},
        {name: ResolvedDevice(at, Compute()) for name, at in devices.items()},
        tuple(ResolvedLink(a, b, LINK, LINK) for a, b in links),
    )


def test_every_interface_has_its_own_address_in_the_private_range() -> None:
    plan = addressing(star(300, LINK))
    addresses = [interface.address for interface in plan.interfaces]
    assert len(set(addresses)) == len(addresses) == 302
    assert all(address.startswith("10.1.") for address in addresses)
    assert len({interface.mac for interface in plan.interfaces}) == 302


def test_a_device_has_an_interface_and_a_subnet_for_each_access_point_apart() -> None:
    plan = addressing(
        topology(
            [("dev1", "ap1"), ("dev1", "ap2"), ("edge1", "ap1"), ("edge2", "ap2")],
            ("ap1", "ap2"),
            {"edge1": "ap1", "edge2": "ap2"},
        )
    )
    assert [interface.name for interface in plan.by_node["dev1"]] == ["eth0", "eth1"]
    assert plan.address("dev1", "edge1").startswith("10.1.")
    assert plan.address("dev1", "edge2").startswith("10.2.")
    with pytest.raises(NetworkError, match="no links lead from edge1 to edge2"):
        plan.address("edge2", "edge1")


def test_linked_access_points_share_a_subnet_and_know_which_port_leads_where() -> None:
    plan = addressing(topology([("dev1", "ap2"), ("ap2", "ap1"), ("edge1", "ap1")], ("ap1", "ap2"), {"edge1": "ap1"}))
    dev1, edge1 = plan.interface("dev1"), plan.interface("edge1")
    assert dev1.group == edge1.group
    between = plan.ends["ap2", "ap1"]
    assert plan.ports["ap1"][dev1.mac] == between[1].name
    assert plan.ports["ap2"][edge1.mac] == between[0].name


def test_a_ring_of_access_points_is_refused() -> None:
    ring = topology([("ap1", "ap2"), ("ap2", "ap3"), ("ap3", "ap1")], ("ap1", "ap2", "ap3"), {})
    with pytest.raises(NetworkError, match="linked in a ring: ap1, ap2, ap3"):
        addressing(ring)


def test_nobody_unknown_is_asked_for() -> None:
    plan = addressing(star(3, LINK))
    known = plan.neighbours(frozenset({"edge1"}))
    assert {(own, other.node) for own, other in known["dev1"]} == {("eth0", "edge1"), ("eth0", "ap1")}
    assert {other.node for _, other in known["edge1"]} == {"ap1", "dev1", "dev2", "dev3"}
    assert {other.node for _, other in known["ap1"]} == {"edge1", "dev1", "dev2", "dev3"}


def test_neighbours_are_known_across_access_points_and_on_each_interface() -> None:
    plan = addressing(
        topology(
            [("dev1", "ap2"), ("dev1", "ap3"), ("ap2", "ap1"), ("edge1", "ap1"), ("edge2", "ap2"), ("edge3", "ap3")],
            ("ap1", "ap2", "ap3"),
            {"edge1": "ap1", "edge2": "ap2", "edge3": "ap3"},
        )
    )
    known = plan.neighbours(frozenset({"edge1", "edge2", "edge3"}))
    assert sorted((own, other.node) for own, other in known["dev1"]) == [
        ("eth0", "ap2"),
        ("eth0", "edge1"),
        ("eth0", "edge2"),
        ("eth1", "ap3"),
        ("eth1", "edge3"),
    ]
    assert {other.node for _, other in known["edge1"]} == {"ap1", "edge2", "dev1"}
    assert {other.node for _, other in known["ap1"]} == {"ap2", "edge1"}
    assert {other.node for _, other in known["ap3"]} == {"dev1", "edge3"}
    assert len({(own, other.address) for own, other in known["dev1"]}) == len(known["dev1"])
