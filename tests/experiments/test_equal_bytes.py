import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.experiments.compression.equal_bytes import compare, frontier
from testbed.experiments.compression.studies import Point, Studies
from testbed.jobs.decision import Kind, Option

N = 200


def point(
    size: float, right: np.ndarray | float, *, seeds: int = 2, name: str = "x", validation: float | None = None
) -> Point:
    """A point of that mean size; of a number: that share of the photographs, spread evenly, is right. On validation
    photographs it is as accurate, if nothing else is said."""
    if isinstance(right, float):
        right = np.tile((np.arange(N) * 7919 % N) < right * N, (seeds, 1))
    values = np.asarray(right, np.float64)
    validated = np.full(len(values), values.mean() if validation is None else validation)
    sizes = np.full(values.shape, float(size))
    return Point(Option(Kind.FULL, f"{name}-{size}"), "", values, sizes, None, None, None, validated)


def test_between_two_points_answers_are_interpolated_in_log_bytes() -> None:
    rng = np.random.default_rng(1)
    small, large = rng.random((2, N)) < 0.5, rng.random((2, N)) < 0.9
    other = point(200, rng.random((2, N)) < 0.6)
    compared = compare([point(100, small), point(400, large)], [other], [100, 150, 200])
    assert compared is not None
    for at, budget in zip(compared.at, (100, 150, 200), strict=True):
        share = np.log(budget / 100) / np.log(4)
        by_hand = (1 - share) * small + share * large - other.right
        assert at.difference.value == pytest.approx(by_hand.mean())


def test_a_method_compared_with_itself_is_undecided_at_zero() -> None:
    points = [point(100, 0.5), point(300, 0.8), point(900, 0.7)]
    compared = compare(points, points, [100, 200, 900])
    assert compared is not None
    assert all(at.difference.value == 0 and not at.above and not at.below for at in compared.at)


def test_points_that_are_larger_and_no_better_are_left_out() -> None:
    points = [point(900, 0.7), point(100, 0.5), point(300, 0.8), point(300, 0.6)]
    assert [one.carried_bytes for one in frontier(points)] == [100, 300]
    assert frontier(points)[1] is points[2]


def test_many_points_of_one_worth_are_not_better_than_one() -> None:
    """Choosing the best by what it is compared on would make twenty coins look better than one."""
    rng = np.random.default_rng(2)
    many = [point(100 + number, rng.random((3, N)) < 0.5, validation=rng.random()) for number in range(20)]
    leads = []
    for _ in range(20):
        one = point(500, rng.random((3, N)) < 0.5)
        compared = compare(many, [one], [500])
        assert compared is not None
        leads.append(compared.mean.value)
    seeming = max(float(each.right.mean()) for each in many) - 0.5
    assert np.mean(leads) < seeming / 2


def test_where_the_rival_has_no_point_so_small_it_gets_its_smallest() -> None:
    compared = compare([point(100, 0.6), point(400, 0.9)], [point(250, 0.7)], [100])
    assert compared is not None
    (at,) = compared.at
    assert (at.bytes_of_first, at.bytes_of_second) == (100, 250)
    assert at.difference.value == pytest.approx(-0.1)


def test_where_the_rival_has_no_point_so_large_the_first_gets_no_more_bytes_than_it() -> None:
    compared = compare([point(100, 0.6), point(400, 0.9)], [point(200, 0.7)], [400])
    assert compared is not None
    (at,) = compared.at
    assert (at.bytes_of_first, at.bytes_of_second) == (200, 200)
    assert at.difference.value == pytest.approx(0.05)


def test_a_budget_below_the_first_methods_smallest_point_shows_nothing_for_it() -> None:
    compared = compare([point(150, 0.9)], [point(100, 0.1), point(200, 0.2)], [100])
    assert compared is not None
    (at,) = compared.at
    assert not at.within_budget and not at.above and at.difference.low > 0


def test_no_bytes_in_common_are_no_comparison() -> None:
    assert compare([point(300, 0.9)], [point(200, 0.1)], [100, 400]) is None
    assert compare([], [point(200, 0.1)], [100]) is None


def test_seeds_that_one_method_lacks_do_not_count() -> None:
    missing = point(200, 0.5)
    missing.right[1], missing.payload_bytes[1], missing.validation[1] = np.nan, np.nan, np.nan
    compared = compare([point(200, 0.7)], [missing], [200])
    assert compared is not None
    assert compared.seeds == 1
    assert compared.mean.value == pytest.approx(0.2)


sizes = st.lists(st.floats(20, 5000), min_size=1, max_size=6)


@given(ours=sizes, theirs=sizes, budget=st.floats(20, 5000), seed=st.integers(0, 9))
def test_the_first_method_never_gets_more_bytes(
    ours: list[float], theirs: list[float], budget: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    first = [point(size, float(rng.random())) for size in ours]
    second = [point(size, float(rng.random())) for size in theirs]
    compared = compare(first, second, [budget])
    if compared is None:
        return
    (at,) = compared.at
    assert at.bytes_of_first <= at.bytes_of_second * (1 + 1e-12)
    assert at.bytes_of_second <= max(theirs) * (1 + 1e-12)
    if budget <= frontier(second)[-1].carried_bytes:
        assert at.bytes_of_second >= budget * (1 - 1e-12)


def test_studies_of_other_photographs_are_refused(studies_of, planted) -> None:
    import msgspec

    from testbed.experiments.compression.studies import StudyError

    one, two, _ = studies_of(planted)
    with pytest.raises(StudyError, match="seed 2"):
        Studies([one, msgspec.structs.replace(two, photographs=two.photographs[::-1])])
    with pytest.raises(StudyError, match="same seed"):
        Studies([one, msgspec.structs.replace(two, seed=1)])
    with pytest.raises(StudyError, match="no study"):
        Studies([])
