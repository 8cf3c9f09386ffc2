"""What is allotted of links, with what is planned of them: the one times the other, whenever either changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testbed.documents.resolved import LinkParameters
from testbed.network.allotment import WHOLE, Allotment, Allotted, AllottedPlan
from testbed.network.links import PlannedChange

A, B = (("dev1", "ap1"), 0), (("dev1", "ap2"), 1)
REST = LinkParameters(10e6, 0.005)


def plan() -> AllottedPlan:
    return AllottedPlan({A[0]: (REST, REST), B[0]: (REST, REST)})


def change(at_ns: int, direction, rate_bps: float, loss: float = 0.0) -> PlannedChange:
    return PlannedChange(at_ns, *direction, LinkParameters(rate_bps, 0.005, loss=loss))


def test_without_allotments_a_plan_is_as_it_was() -> None:
    changes = [change(1, A, 5e6), change(2, B, 6e6)]
    assert plan().add(changes) == changes


def test_a_share_takes_hold_at_its_instant_and_a_later_change_keeps_it() -> None:
    whole = plan()
    early, late = whole.add([change(10, A, 8e6), change(30, A, 4e6, loss=1.0)])
    again = whole.allot(Allotted(20, {A: Allotment(0.25)}))
    assert [(one.at_ns, one.parameters.bandwidth_bps, one.parameters.loss) for one in again] == [
        (10, 8e6, 0.0),
        (20, 2e6, 0.0),
        (30, 1e6, 1.0),
    ]
    assert again[0] is early and again[2].whole == late.parameters
    (later,) = whole.add([change(40, A, 2e6)])
    assert (later.parameters.bandwidth_bps, later.whole) == (0.5e6, LinkParameters(2e6, 0.005))
    assert whole.waiting == 4


def test_a_share_is_of_what_the_way_passes() -> None:
    assert Allotment(0.5, 4e6).of(REST).bandwidth_bps == 2e6
    assert Allotment(0.5, 40e6).of(REST).bandwidth_bps == 5e6
    assert WHOLE.of(REST) is REST


def test_what_is_no_longer_allotted_is_whole_again_and_what_did_not_change_is_left() -> None:
    whole = plan()
    first = whole.allot(Allotted(10, {A: Allotment(0.5), B: Allotment(0.5)}))
    whole.applied(first)
    assert whole.waiting == 0
    assert [(one.link, one.parameters) for one in whole.allot(Allotted(20, {B: Allotment(0.5)}))] == [(A[0], REST)]


RATES = st.integers(1, 50).map(lambda number: number * 1e6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.sampled_from([A, B]), RATES),
        st.tuples(st.just("allot"), st.sampled_from([A, B]), st.sampled_from([0.1, 0.5, 1.0])),
        st.tuples(st.just("apply"), st.just(A), st.integers(0, 3)),
    ),
    max_size=30,
)


@given(STEPS, st.integers(0, 30))
def test_a_rate_is_always_share_times_rate(steps, behind) -> None:
    """Changes are planned `behind` ahead of the shares' instants, and applied as far as time has come."""
    whole = plan()
    set_to = {A: 10e6, B: 10e6}
    bases: dict = {A: [(0, 10e6)], B: [(0, 10e6)]}
    shares: dict = {A: [(0, 1.0)], B: [(0, 1.0)]}
    now: dict = {}
    waiting: list[PlannedChange] = []
    for number, (kind, direction, value) in enumerate(steps):
        at_ns = 10 * (number + 1)
        if kind == "change":
            planned = change(at_ns + behind, direction, value)
            bases[direction].append((planned.at_ns, value))
            waiting += whole.add([planned])
        elif kind == "allot":
            now = {**now, direction: Allotment(value)}
            for one in now:
                shares[one].append((at_ns, now[one].share))
            waiting = whole.allot(Allotted(at_ns, now))
        due = [one for one in waiting if one.at_ns <= at_ns]
        whole.applied(due)
        waiting = waiting[len(due) :]
        for one in due:
            set_to[one.link, one.direction] = one.parameters.bandwidth_bps
        for one in (A, B):
            base = [value for at, value in bases[one] if at <= at_ns][-1]
            share = [value for at, value in shares[one] if at <= at_ns][-1]
            assert set_to[one] == share * base
