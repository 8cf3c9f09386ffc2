import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.workload.losses import apportioned

WAYS = [("dev1", "edge1"), ("dev1", "edge2"), ("dev2", "edge1"), ("dev2", "edge2")]
LINKS = ("dev1", "dev2", "edge1", "edge2")


def on_links(parts: list[list[float]]) -> dict[str, float]:
    sums = dict.fromkeys(LINKS, 0.0)
    for way, of_flow in zip(WAYS, parts, strict=True):
        for link, part in zip(way, of_flow, strict=True):
            sums[link] += part
    return sums


def test_what_was_lost_behind_a_shared_link_is_not_charged_to_it() -> None:
    lost = {"dev1": 3000.0, "dev2": 0.0, "edge1": 9000.0, "edge2": 0.0}
    parts = apportioned(WAYS, [1e5] * 4, [6000.0, 1500.0, 4500.0, 0.0], lost)
    assert sum(parts[number][0] for number in (0, 2)) == pytest.approx(1500, abs=1)  # of edge1's, before its link
    assert parts[1] == pytest.approx([1500, 0], abs=1) and parts[2] == pytest.approx([0, 4500], abs=1)


losses = st.integers(0, 1_000_000)


@given(st.lists(st.tuples(losses, losses), min_size=4, max_size=4), st.floats(0.9, 1.1))
def test_parts_add_up_to_the_links_and_nearly_to_the_flows(real: list[tuple[int, int]], wrong: float) -> None:
    of_links = on_links([list(parts) for parts in real])
    of_flows = [sum(parts) for parts in real]
    parts = apportioned(WAYS, [1e6] * 4, of_flows, of_links)
    assert on_links(parts) == pytest.approx(of_links, abs=2)
    found = on_links(apportioned(WAYS, [1e6] * 4, [wrong * lost for lost in of_flows], of_links))
    assert found == pytest.approx(of_links, abs=2)
    before = {way: part[0] for way, part in zip(WAYS, parts, strict=True)}
    for edge in ("edge1", "edge2"):
        expected = sum(part[0] for way, part in zip(WAYS, real, strict=True) if way[1] == edge)
        reached = sum(part for way, part in before.items() if way[1] == edge)
        assert reached == pytest.approx(expected, abs=10 + 0.01 * sum(of_flows))


def test_a_links_loss_is_somebodys_where_nobody_knows_of_one() -> None:
    lost = {"dev1": 1000.0, "dev2": 0.0, "edge1": 0.0, "edge2": 0.0}
    for of_flows in ([0.0] * 4, [None] * 4):
        parts = np.array(apportioned(WAYS, [3e5, 1e5, 1.0, 1.0], of_flows, lost))
        assert parts[:, 0] == pytest.approx([750, 250, 0, 0], abs=1) and not parts[:, 1].any()
