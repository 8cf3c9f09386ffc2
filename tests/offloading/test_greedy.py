"""Greedy: the best accuracy that is in time, by its own model."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.jobs.decision import LOCAL, Kind
from testbed.offloading.greedy import Greedy
from testbed.offloading.prediction import predict_s, reachable


@given(
    bandwidth_bps=st.floats(1e4, 1e9),
    delay_s=st.floats(0, 0.3),
    loss=st.floats(0, 0.5),
    backlog_s=st.floats(0, 0.5),
    edge_backlog_s=st.floats(0, 0.5),
    elapsed_s=st.floats(0, 0.3),
    deadline_s=st.floats(0.01, 1),
    device_flops_per_s=st.floats(1e9, 1e11),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_the_choice_is_feasible_if_any_is_and_the_best_of_those(observed, elapsed_s, deadline_s, **figures):
    observation = observed(elapsed_s=elapsed_s, deadline_s=deadline_s, edges=("edge1", "edge2"), **figures)
    chosen = Greedy().decide(observation)
    rows = observation.profile.by_option
    everything = [(predict_s(observation, d.option, d.edge), rows[d.option].accuracy) for d in reachable(observation)]
    left_s = deadline_s - (observation.now_s - observation.job.arrival_s)
    chosen_s = predict_s(observation, chosen.option, chosen.edge)
    feasible = [(seconds, accuracy) for seconds, accuracy in everything if seconds <= left_s]
    if feasible:
        best = max(accuracy for _, accuracy in feasible)
        assert chosen_s <= left_s
        assert rows[chosen.option].accuracy == best
        assert chosen_s == min(seconds for seconds, accuracy in feasible if accuracy == best)
    else:
        assert chosen_s == min(seconds for seconds, _ in everything)


def test_a_good_channel_offloads_raw_and_a_fast_device_stays_local(observed):
    assert str(Greedy().decide(observed(bandwidth_bps=1e9)).option) == "full raw"
    assert Greedy().decide(observed(bandwidth_bps=1e9, device_flops_per_s=1e12)).option == LOCAL


def test_a_poor_channel_and_a_slow_device_split(observed):
    chosen = Greedy().decide(observed(bandwidth_bps=0.2e6, deadline_s=0.2, device_flops_per_s=3.3e9))
    assert str(chosen.option) == "split aecnn layer3/k16/b4"


def test_time_already_spent_counts(observed):
    assert Greedy().decide(observed(bandwidth_bps=1e6, deadline_s=0.2)).option == LOCAL
    late = Greedy().decide(observed(bandwidth_bps=1e6, deadline_s=0.2, elapsed_s=0.1))
    assert late.option.kind is Kind.FULL and late.option.encoding == "jpeg"


def test_the_less_loaded_edge_is_taken(observed):
    observation = observed(edges=("edge1", "edge2"), slower={"edge1": 0.05}, bandwidth_bps=1e9)
    assert Greedy().decide(observation).edge == "edge2"


def test_no_edge_in_reach_means_local_even_when_late(observed):
    assert Greedy().decide(observed(edges=(), deadline_s=0.001)).option == LOCAL
