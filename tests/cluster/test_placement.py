"""Which machine each node lies on."""

from collections import Counter
from pathlib import Path

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.cluster.placement import here, placed
from testbed.documents.loading import load_topology
from testbed.documents.resolve import resolve
from testbed.documents.resolved import Machine, Placement, ResolvedTopology
from testbed.network.errors import RefusedError

ROOT = Path(__file__).parents[2]
NAMES = ("tree", "two_edges", "star")
PLAIN = {name: resolve(load_topology(ROOT / "topologies" / f"{name}.yaml")) for name in NAMES}
LAB = tuple(Machine(f"lab{number}", f"198.51.100.{number}") for number in (1, 2, 3))


def over(name: str, place: Placement | None = None, machines: tuple[Machine, ...] = LAB) -> ResolvedTopology:
    return msgspec.structs.replace(PLAIN[name], machines=machines, place=place or Placement())


def test_without_machines_all_is_local():
    assert set(placed(PLAIN["tree"]).values()) == {"local"}
    assert here(PLAIN["tree"]) == "local"


def test_a_device_goes_with_its_access_point_and_access_points_are_spread():
    on = placed(over("tree"))
    assert [on[name] for name in ("ap1", "ap2", "core")] == ["lab1", "lab2", "lab3"]
    assert {on[f"cam{number}"] for number in range(1, 5)} == {"lab1"}
    assert {on[f"robot{number}"] for number in range(1, 5)} == {"lab2"}
    assert on["edge1"] == "lab3"


def test_the_next_access_point_goes_where_the_fewest_nodes_are():
    on = placed(over("tree", machines=LAB[:2]))
    assert [on[name] for name in ("ap1", "ap2", "core")] == ["lab1", "lab2", "lab1"]  # a tie: lab1 comes first
    by_hand = dict.fromkeys(["robot1", "robot2"], "lab1")
    on = placed(over("tree", Placement(by_hand=by_hand), LAB[:2]))
    assert [on[name] for name in ("ap1", "ap2", "core")] == ["lab2", "lab1", "lab1"]


def test_a_device_of_several_access_points_goes_with_the_first():
    on = placed(over("two_edges"))
    assert on["dev6"] == on["ap1"] == on["edge1"] == "lab1"
    assert on["ap2"] == on["edge2"] == "lab2"


def test_spread_gives_each_machine_its_share_of_each_kind():
    topology = over("two_edges", Placement("spread"))
    on = placed(topology)
    assert sorted(Counter(on[device] for device in topology.devices).values()) == [2, 2, 2]
    assert [on[name] for name in ("ap1", "ap2", "edge1", "edge2")] == ["lab1", "lab2", "lab1", "lab2"]


def test_pack_leaves_to_other_machines_what_is_placed_there_by_hand():
    on = placed(over("tree", Placement("pack", {"edge1": "lab3"})))
    assert on.pop("edge1") == "lab3"
    assert set(on.values()) == {"lab1"}


@given(
    st.sampled_from(NAMES),
    st.sampled_from(["access_point", "pack", "spread"]),
    st.integers(1, 3),
    st.data(),
)
def test_every_node_has_one_of_the_machines_and_by_hand_holds(name, by, count, data):
    plain = PLAIN[name]
    nodes = [*plain.access_points, *plain.edges, *plain.devices]
    machines = [machine.name for machine in LAB[:count]]
    by_hand = data.draw(st.dictionaries(st.sampled_from(nodes), st.sampled_from(machines)))
    on = placed(over(name, Placement(by, by_hand), LAB[:count]))
    assert set(on) == set(nodes)
    assert set(on.values()) <= set(machines)
    assert on.items() >= by_hand.items()
    assert on == placed(over(name, Placement(by, by_hand), LAB[:count]))


def own_addresses() -> list[str]:
    found = [address.address for addresses in psutil.net_if_addrs().values() for address in addresses]
    return [address for address in found if address.count(".") == 3]


def test_this_machine_is_the_one_whose_address_it_has():
    ours = Machine("ours", own_addresses()[0])
    assert here(over("star", machines=(LAB[0], ours))) == "ours"


def test_a_machine_that_is_none_or_several_of_them_is_refused():
    with pytest.raises(RefusedError, match=r"none of the addresses of `machines` \(lab1 198\.51\.100\.1, .*call this"):
        here(over("star"))
    twice = tuple(Machine(name, own_addresses()[0]) for name in ("one", "two"))
    with pytest.raises(RefusedError, match="one, two are all this one"):
        here(over("star", machines=twice))
