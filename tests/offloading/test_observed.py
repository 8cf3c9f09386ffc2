"""The bridge from a run's slot to the system model, against the predictions of `prediction`."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from testbed.jobs.decision import LOCAL, Decision
from testbed.jobs.job import Job
from testbed.jobs.observation import Air, EdgeView, Observation, PathView
from testbed.jobs.profile import Profile
from testbed.offloading.errors import PolicyError
from testbed.offloading.features import BOUND, EDGE_FEATURES
from testbed.offloading.mec import Mec
from testbed.offloading.observed import ObservedMec
from testbed.offloading.prediction import predict_s
from testbed.offloading.scenario import Scenario, Slots
from testbed.offloading.slot_baselines import ExhaustiveChooser, GreedyChooser
from testbed.offloading.slots import Assignment, DeviceView, SlotObservation


def device(bandwidth_bps: float = 10e6, *, edges: tuple[str, ...] = ("edge1", "edge2"), **fields: Any) -> DeviceView:
    up = PathView(bandwidth_bps, 0.005, fields.pop("loss", 0.0))
    down = PathView(20e6, 0.004, 0.01)
    unsent = int(fields.pop("unsent_bytes", 0))
    speed = {"edge1": 2e11, "edge2": 1e11}
    air = fields.pop("air", None)
    views = {edge: EdgeView(up, down, 0.001 * len(edge), speed[edge], unsent, air) for edge in edges}
    return DeviceView(**{"deadline_s": 0.1, "backlog_s": 0.003, "flops_per_s": 8e9, **fields}, edges=views)


def slot(profile: Profile, **devices: DeviceView) -> SlotObservation:
    return SlotObservation(now_s=2.0, slot_s=0.1, devices=devices, profile=profile)


@pytest.mark.parametrize("fields", [{}, {"loss": 0.2}, {"unsent_bytes": 3000}, {"backlog_s": 0.05}])
def test_a_device_alone_is_predicted_as_policies_that_decide_by_job_do(profile: Profile, fields: dict) -> None:
    view = device(**fields)
    problem = ObservedMec().problem(slot(profile, dev1=view))
    job = Job(job_id=0, device="dev1", image=0, arrival_s=2.0, deadline_s=view.deadline_s)
    seen = Observation(job, 2.0, view.backlog_s, view.flops_per_s, view.edges, profile)
    for option, decision in enumerate(problem.decisions):
        ((completion_s,),), _ = problem.completions(np.array([[option]]))
        assert completion_s == pytest.approx(predict_s(seen, decision.option, decision.edge), rel=1e-9)


def decided_for(observation: SlotObservation, *wanted: tuple[str, str | None]) -> dict[str, Assignment]:
    """What devices are told if these options at these edges are decided."""
    problem = ObservedMec().problem(observation)
    names = [(str(decision.option), decision.edge) for decision in problem.decisions]
    return problem.assignments(np.array([names.index(one) for one in wanted]))


JPEG_1, JPEG_2, RAW_2, NOWHERE = ("full jpeg", "edge1"), ("full jpeg", "edge2"), ("full raw", "edge2"), ("local", None)


def test_who_sends_through_one_access_point_divides_what_it_shares_out(profile: Profile) -> None:
    air = Air("ap1", 12e6)
    observation = slot(profile, dev1=device(air=air), dev2=device(5e6, air=air), dev3=device(air=air))
    decided = decided_for(observation, JPEG_1, JPEG_2, NOWHERE)  # whichever edges they send to
    assert list(decided) == ["dev1", "dev2", "dev3"]
    rates = [10e6 * decided["dev1"].uplink_share, 5e6 * decided["dev2"].uplink_share]
    assert sum(rates) == pytest.approx(12e6, rel=0.2) and sum(rates) <= 12e6 * (1 + 1e-9)
    assert decided["dev3"] == Assignment(Decision(LOCAL))
    assert decided["dev1"].decision.edge == "edge1"
    crowded = decided_for(observation, JPEG_1, JPEG_2, RAW_2)
    rates = [
        10e6 * crowded["dev1"].uplink_share,
        5e6 * crowded["dev2"].uplink_share,
        10e6 * crowded["dev3"].uplink_share,
    ]
    assert sum(rates) == pytest.approx(12e6) and max(rates) == rates[2]  # whose photograph is ten times the size


def test_links_that_share_nothing_are_their_devices_own(profile: Profile) -> None:
    observation = slot(profile, dev1=device(), dev2=device(5e6), dev3=device(air=Air("ap1", 50e6)))
    decided = decided_for(observation, JPEG_1, JPEG_1, JPEG_1)
    assert [one.uplink_share for one in decided.values()] == [1.0, 1.0, 1.0]
    problem = ObservedMec().problem(observation)
    alone = ObservedMec().problem(slot(profile, dev1=device(), dev2=device(5e6)))
    np.testing.assert_allclose(problem.equal_shares.uplink_s[:2], alone.equal_shares.uplink_s)


def test_computing_locally_is_worth_less_where_jobs_come_one_behind_another(profile: Profile) -> None:
    found = []
    for jobs_per_s in (0.0, 5.0):
        problem = ObservedMec().problem(
            slot(profile, dev1=device(deadline_s=0.15, flops_per_s=6e9, backlog_s=0.0, jobs_per_s=jobs_per_s))
        )
        names = [str(decision.option) for decision in problem.decisions]
        found.append(problem.rewards(np.array([[names.index("local")], [names.index("full raw")]])))
    (local, raw), (local_behind, raw_behind) = found
    assert local > 0.92 and local_behind < local - 0.1
    assert raw == pytest.approx(raw_behind)


@pytest.mark.parametrize(
    "cut", [device(edges=("edge1",)), device(edges=()), device(0.0), device(loss=1.0)], ids=["one", "none", "0", "lost"]
)
def test_what_cannot_be_reached_is_not_allowed_nor_chosen(profile: Profile, cut: DeviceView) -> None:
    problem = ObservedMec().problem(slot(profile, dev1=device(), dev2=cut))
    graph = problem.graph
    passes = {edge for edge, view in cut.edges.items() if view.up.bandwidth_bps > 0 and view.up.loss < 1}
    expected = [decision.edge is None or decision.edge in passes for decision in problem.decisions]
    np.testing.assert_array_equal(graph.allowed[1], expected)
    assert graph.allowed[0].all()
    assert all(np.isfinite(part).all() for part in graph[:3])
    for chooser in (ExhaustiveChooser(), GreedyChooser()):
        choice = chooser.choose(problem)
        assert graph.allowed[np.arange(2), choice].all()
        assert np.isfinite(problem.rewards(choice[None])).all()


def test_nobody_reaching_an_edge_leaves_local(profile: Profile) -> None:
    problem = ObservedMec().problem(slot(profile, dev1=device(edges=()), dev2=device(edges=())))
    decided = problem.assignments(GreedyChooser().choose(problem))
    assert {assignment.decision for assignment in decided.values()} == {Decision(LOCAL)}


def test_a_device_with_nothing_to_decide_is_an_error(profile: Profile) -> None:
    no_local = msgspec.structs.replace(profile, rows=profile.rows[1:])
    with pytest.raises(PolicyError, match="dev2 reaches no edge"):
        ObservedMec().problem(slot(no_local, dev1=device(), dev2=device(edges=())))


def test_the_graph_is_of_the_models_kind_and_scale(profile: Profile) -> None:
    observed = ObservedMec().problem(slot(profile, dev1=device(), dev2=device(), dev3=device())).graph
    modelled = Mec(Scenario(devices=3), profile).problem(Slots(Scenario(devices=3), 0)[0]).graph
    for part, same in zip(observed, modelled, strict=True):
        assert part.shape == same.shape and part.dtype == same.dtype
    assert np.abs(observed.edges).max() <= BOUND and observed.edges.shape[-1] == EDGE_FEATURES


def test_options_are_made_anew_when_profile_or_edges_change(profile: Profile) -> None:
    mec = ObservedMec()
    both = mec.problem(slot(profile, dev1=device()))
    one = mec.problem(slot(profile, dev1=device(edges=("edge2",))))
    raw = mec.problem(slot(profile.considered(["raw"]), dev1=device(edges=("edge2",))))
    assert [len(problem.decisions) for problem in (both, one, raw)] == [9, 5, 2]
    assert {decision.edge for decision in one.decisions} == {None, "edge2"}
