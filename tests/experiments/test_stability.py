import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.aecnn.outcomes import Ranking
from testbed.experiments.compression.stability import overlap, spearman, stabilities

lists = st.lists(st.integers(0, 6), min_size=3, max_size=12)


def by_definition(a: list[int], b: list[int]) -> float:
    """Pearson's correlation of mean ranks, each counted out."""
    ranks = [
        [sum(other < one for other in values) + (sum(other == one for other in values) + 1) / 2 for one in values]
        for values in (a, b)
    ]
    return float(np.corrcoef(ranks)[0, 1])


@given(st.data())
def test_rank_correlation_is_that_of_its_definition(data: st.DataObject) -> None:
    a = data.draw(lists)
    b = data.draw(st.lists(st.integers(0, 6), min_size=len(a), max_size=len(a)))
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert spearman(a, b) == 0
    else:
        assert spearman(a, b) == pytest.approx(by_definition(a, b))


def test_any_order_preserving_change_leaves_it_at_one() -> None:
    values = np.random.default_rng(1).random(50)
    assert spearman(values, np.exp(9 * values)) == pytest.approx(1)
    assert spearman(values, -values) == pytest.approx(-1)


def test_overlap_of_unrelated_lists_is_that_of_chance() -> None:
    rng = np.random.default_rng(2)
    found = np.mean([overlap(rng.random(128), rng.random(128), 16) for _ in range(2000)])
    assert found == pytest.approx(16 / 128, abs=0.005)
    assert overlap([3, 2, 1, 0], [5, 4, 0, 0], 2) == 1
    assert overlap([3, 2, 1, 0], [0, 1, 2, 3], 2) == 0


def test_classes_that_agree_are_told_from_those_that_do_not() -> None:
    rng = np.random.default_rng(3)
    overall = rng.random(64)
    alike = tuple(tuple(overall + rng.normal(0, 0.01, 64)) for _ in range(5))
    apart = tuple(tuple(rng.random(64)) for _ in range(5))
    rankings = [
        [Ranking("layer3", "attention", tuple(overall), alike), Ranking("layer3", "l1", tuple(rng.random(64)), apart)]
        for _ in range(2)
    ]
    attention, l1 = stabilities(rankings, {"layer3": [8, 64]})
    assert attention.with_classes is not None and attention.with_classes > 0.95
    assert attention.between_seeds == pytest.approx(1)
    assert l1.with_classes is not None and abs(l1.with_classes) < 0.3
    assert l1.with_attention is not None and abs(l1.with_attention) < 0.4 and attention.with_attention is None
    assert list(attention.overlaps) == [8]  # all 64 of 64 would say nothing
    assert attention.overlaps[8] is not None and attention.overlaps[8] > 0.8
    assert (l1.seeds, l1.channels) == (2, 64)


def test_rankings_without_classes_say_so() -> None:
    (one,) = stabilities([[Ranking("layer3", "random", tuple(np.arange(8.0)), ())]], {})
    assert one.with_classes is one.least_class is one.between_seeds is one.with_attention is None
