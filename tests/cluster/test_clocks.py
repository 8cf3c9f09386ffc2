"""How far clocks are apart: by made-up exchanges, and over loopback, where they are one."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.cluster.clocks import SAME, Offset, Responder, best, measured
from testbed.network.errors import NetworkError
from testbed.runtime.times import one_way_s

WAYS_NS = st.integers(0, 50_000_000)


@given(st.integers(-(10**18), 10**18), st.lists(st.tuples(WAYS_NS, WAYS_NS, WAYS_NS), min_size=1, max_size=20))
def test_the_truth_lies_within_the_error_of_the_best_exchange(ahead_ns: int, ways: list[tuple[int, int, int]]) -> None:
    exchanges, asked = [], 0
    for there, at_work, back in ways:
        received = asked + there + ahead_ns
        exchanges.append((asked, received, received + at_work, asked + there + at_work + back))
        asked += 1_000_000_000
    found = best(exchanges)
    assert abs(found.offset_s - ahead_ns / 1e9) <= found.error_s + 1e-9 + abs(ahead_ns) / 1e9 * 1e-15
    assert found.error_s == pytest.approx(min(there + back for there, _, back in ways) / 2e9, abs=1e-12)


def test_one_clock_is_found_to_be_one_and_who_does_not_answer_is_named() -> None:
    responder = Responder("127.0.0.1", 0)
    found = measured("127.0.0.1", "127.0.0.1", responder.port)
    assert abs(found.offset_s) <= found.error_s < 0.005
    responder.close()
    for thread in threading.enumerate():
        if thread.name == "clock":
            thread.join(5)
    with pytest.raises(NetworkError, match=f"127.0.0.1 .UDP port {responder.port}. does not answer"):
        measured("127.0.0.1", "127.0.0.1", responder.port, within_s=0.2)


def test_clocks_seen_from_each_other_add_their_errors() -> None:
    one, other = Offset(5.0, 0.001), Offset(-2.0, 0.002)
    assert other.since(one) == Offset(-7.0, 0.003)
    assert one.since(SAME) == one and one.there(10.0) == 15.0


@given(st.floats(-1e6, 1e6), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(-0.01, 0.01))
def test_one_way_times_sum_to_what_both_took_whatever_the_clocks_say(
    ahead_s: float, there_s: float, at_work_s: float, back_s: float, wrong_s: float
) -> None:
    sent_s = 1000.0
    received_s = sent_s + there_s + ahead_s
    done_s = received_s + at_work_s
    answered_s = sent_s + there_s + at_work_s + back_s
    up_s, down_s = one_way_s(sent_s, received_s, done_s, answered_s, ahead_s + wrong_s)
    assert up_s + down_s == pytest.approx(there_s + back_s, abs=1e-8)
    assert up_s >= 0 and down_s >= -1e-8
    assert up_s == pytest.approx(there_s, abs=abs(wrong_s) + 1e-8)
