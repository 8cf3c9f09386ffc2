"""The system model against sums done by hand, and its orders."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.jobs.decision import LOCAL, Kind, OperatingPoint, Option
from testbed.jobs.observation import PathView
from testbed.offloading.errors import PolicyError
from testbed.offloading.prediction import predict_s, reachable, transfer_s

JPEG = Option(Kind.FULL, "jpeg")
RAW = Option(Kind.FULL, "raw")
DEEP = Option(Kind.SPLIT, "aecnn", OperatingPoint("layer3", 16, 4))
FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def test_local_is_backlog_and_the_whole_network(observed):
    assert predict_s(observed(backlog_s=0.03), LOCAL, None) == pytest.approx(0.03 + 7e8 / 5e9)


def test_split_adds_every_stage_by_hand(observed):
    observation = observed(backlog_s=0.01, edge_backlog_s=0.02)
    up = (324 + 100 + 52) * 8 / 10e6 + 0.005
    down = (100 + 52) * 8 / 10e6 + 0.005
    by_hand = 0.01 + 5.05e8 / 5e9 + up + 0.02 + 2.5e8 / 2e11 + down
    assert predict_s(observation, DEEP, "edge1") == pytest.approx(by_hand)


def test_raw_offloading_does_not_wait_for_the_device_but_jpeg_does(observed):
    idle, busy = observed(), observed(backlog_s=0.5)
    assert predict_s(busy, RAW, "edge1") == predict_s(idle, RAW, "edge1")
    assert predict_s(busy, JPEG, "edge1") == pytest.approx(predict_s(idle, JPEG, "edge1") + 0.5)


def test_each_segment_pays_for_its_headers():
    path = PathView(8.0, 0.0, 0.0)
    assert transfer_s(1448, path) == 1448 + 52
    assert transfer_s(1449, path) == 1449 + 104


def test_what_still_waits_to_be_sent_goes_first(observed):
    alone, behind = observed(bandwidth_bps=1e6), observed(bandwidth_bps=1e6, unsent_bytes=5000)
    headers = 52 * 3  # 324 + 100 bytes are one segment, 5,000 more are four
    queued_s = (5000 + headers) * 8 / 1e6
    assert predict_s(behind, DEEP, "edge1") == pytest.approx(predict_s(alone, DEEP, "edge1") + queued_s)


def test_loss_is_paid_for_with_expected_repetitions():
    assert transfer_s(1000, PathView(1e6, 0.0, 0.5)) == pytest.approx(2 * transfer_s(1000, PathView(1e6, 0.0, 0.0)))


@pytest.mark.parametrize("path", [PathView(0.0, 0.1, 0.0), PathView(1e6, 0.1, 1.0)])
def test_a_way_that_passes_nothing_takes_for_ever(path):
    assert math.isinf(transfer_s(10, path))


@given(slow=st.floats(1e3, 1e9), factor=st.floats(1.001, 1e3))
@FIXTURE
def test_more_bandwidth_is_never_slower(observed, slow, factor):
    for option in (JPEG, RAW, DEEP):
        before = predict_s(observed(bandwidth_bps=slow), option, "edge1")
        assert predict_s(observed(bandwidth_bps=slow * factor), option, "edge1") < before


@given(backlog_s=st.floats(0, 10), more_s=st.floats(0.001, 10), loss=st.floats(0, 0.9))
@FIXTURE
def test_backlog_and_loss_are_never_faster(observed, backlog_s, more_s, loss):
    at_ease = predict_s(observed(edge_backlog_s=backlog_s), DEEP, "edge1")
    assert predict_s(observed(edge_backlog_s=backlog_s + more_s), DEEP, "edge1") > at_ease
    assert predict_s(observed(edge_backlog_s=backlog_s, loss=loss), DEEP, "edge1") >= at_ease


def test_reachable_holds_local_alone_without_edges_and_each_edge_otherwise(observed):
    assert [(d.option, d.edge) for d in reachable(observed(edges=()))] == [(LOCAL, None)]
    assert len(reachable(observed(edges=("edge1", "edge2")))) == 1 + 4 * 2


def test_an_option_outside_the_profile_is_refused_with_those_it_has(observed):
    absent = Option(Kind.SPLIT, "aecnn", OperatingPoint("stem", 1, 2))
    with pytest.raises(PolicyError, match=r"no option 'split aecnn stem/k1/b2'; it has 'local', .*layer3/k16/b4"):
        predict_s(observed(), absent, "edge1")
