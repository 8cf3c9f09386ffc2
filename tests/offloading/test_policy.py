"""Policies by name: what they decide, and how wrong ones are refused."""

from __future__ import annotations

import collections

import msgspec
import pytest

from testbed.documents.workload import POLICIES
from testbed.jobs.decision import LOCAL, Decision, Kind, OperatingPoint, Option
from testbed.offloading.policy import BUILT_IN, NoEdge, PolicyError, check_profile, make_policy
from testbed.offloading.prediction import reachable
from testbed.offloading.slot_policy import BY_SLOT


def test_workload_files_name_every_policy_there_is():
    assert {*BUILT_IN, *BY_SLOT} == set(POLICIES)


def test_local_is_local(observed):
    assert make_policy("local", {}, seed=1).decide(observed()) == Decision(LOCAL)


@pytest.mark.parametrize("encoding", ["jpeg", "raw"])
def test_full_sends_the_photograph_to_the_edge_named(observed, encoding):
    policy = make_policy("full", {"encoding": encoding, "edge": "edge1"}, seed=1)
    observation = observed(edges=("edge1", "edge2"), slower={"edge1": 1.0})
    assert policy.decide(observation) == Decision(Option(Kind.FULL, encoding), "edge1")


def test_full_without_an_edge_takes_the_one_that_answers_first(observed):
    observation = observed(edges=("edge1", "edge2"), slower={"edge1": 1.0})
    assert make_policy("full", {}, seed=1).decide(observation) == Decision(Option(Kind.FULL, "jpeg"), "edge2")


def test_fixed_splits_at_its_point(observed):
    policy = make_policy("fixed", {"split": "layer2", "kept_channels": 32, "bits": 4}, seed=1)
    point = OperatingPoint("layer2", 32, 4)
    assert policy.decide(observed()) == Decision(Option(Kind.SPLIT, "aecnn", point), "edge1")


@pytest.mark.parametrize("options", [{}, {"edge": "edge1"}])
def test_no_edge_in_reach_is_said(observed, options):
    with pytest.raises(NoEdge, match=r"cannot be reached from dev1|no edge can be reached from dev1"):
        make_policy("full", options, seed=1).decide(observed(edges=()))


def test_random_depends_on_seed_and_job_alone(observed):
    policy, again = make_policy("random", {}, seed=7), make_policy("random", {}, seed=7)
    forwards = {job: policy.decide(observed(job_id=job, bandwidth_bps=1e6)) for job in range(50)}
    backwards = {job: again.decide(observed(job_id=job, bandwidth_bps=9e6)) for job in reversed(range(50))}
    assert forwards == backwards
    other = make_policy("random", {}, seed=8)
    assert [other.decide(observed(job_id=job)) for job in range(50)] != list(forwards.values())


def test_random_is_uniform_over_what_can_be_reached(observed):
    policy = make_policy("random", {}, seed=3)
    observation = observed(edges=("edge1", "edge2"))
    n, decisions = 4500, reachable(observation)
    counts = collections.Counter(
        policy.decide(msgspec.structs.replace(observation, job=msgspec.structs.replace(observation.job, job_id=job)))
        for job in range(n)
    )
    assert set(counts) == set(decisions)
    share = 1 / len(decisions)
    sigma = (n * share * (1 - share)) ** 0.5
    assert all(abs(count - n * share) < 5 * sigma for count in counts.values())


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("greddy", {}, "not one of local, full, fixed, random, greedy, nor a package.module:Class"),
        ("greedy", {"encodings": "jpeg"}, "encodings must be a list of names, such as"),
        ("full", {"edgy": "edge1"}, "unexpected keyword argument 'edgy'"),
        ("fixed", {"split": "layer3"}, "missing 2 required positional arguments: 'kept_channels' and 'bits'"),
        (
            "nowhere.at_all:Policy",
            {},
            r"cannot import nowhere.at_all \(ModuleNotFoundError: No module named 'nowhere'\)",
        ),
        ("collections:Nothing", {}, "collections has no class 'Nothing'"),
        ("collections:OrderedDict", {}, r"no method decide\(observation\)"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_reason(name, options, says):
    with pytest.raises(PolicyError, match=says):
        make_policy(name, options, seed=1)


USERS = """
from testbed.jobs.decision import LOCAL, Decision, Kind, Option

class Mine:
    def __init__(self, seed, threshold_bps):
        self.seed, self.threshold_bps = seed, threshold_bps

    def decide(self, observation):
        for name, edge in observation.edges.items():
            if edge.up.bandwidth_bps > self.threshold_bps:
                return Decision(Option(Kind.FULL, "jpeg"), name)
        return Decision(LOCAL)

class Wrong:
    def __init__(self, seed, what):
        self.what = what

    def decide(self, observation):
        return {
            "text": "local",
            "absent": Decision(Option(Kind.FULL, "png"), "edge1"),
            "far": Decision(Option(Kind.FULL, "jpeg"), "edge9"),
            "odd": Decision(LOCAL, "edge1"),
        }[self.what]
"""


@pytest.fixture
def users_module(tmp_path, monkeypatch):
    (tmp_path / "users_policies.py").write_text(USERS)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("users_module")
def test_a_users_class_decides_with_its_options(observed):
    policy = make_policy("users_policies:Mine", {"threshold_bps": 5e6}, seed=1)
    assert policy.decide(observed(bandwidth_bps=1e6)) == Decision(LOCAL)
    assert policy.decide(observed(bandwidth_bps=9e6)) == Decision(Option(Kind.FULL, "jpeg"), "edge1")


@pytest.mark.usefixtures("users_module")
@pytest.mark.parametrize(
    ("what", "error", "says"),
    [
        ("text", PolicyError, "'local', which is not a testbed Decision"),
        ("absent", PolicyError, "'full png', which the profile does not have"),
        ("far", NoEdge, "'edge9', which cannot be reached"),
        ("odd", PolicyError, "local with an edge"),
    ],
)
def test_what_a_users_class_decides_is_checked(observed, what, error, says):
    with pytest.raises(error, match=says):
        make_policy("users_policies:Wrong", {"what": what}, seed=1).decide(observed())


def test_a_point_outside_the_profile_is_refused_before_the_run(profile):
    check_profile(make_policy("fixed", {"split": "layer3", "kept_channels": 16, "bits": 4}, seed=1), profile)
    check_profile(make_policy("greedy", {}, seed=1), profile)
    absent = make_policy("fixed", {"split": "layer3", "kept_channels": 17, "bits": 4}, seed=1, estimate_error=0.1)
    with pytest.raises(PolicyError, match=r"layer3/k17/b4.*it has .*layer2/k32/b4.*layer3/k16"):
        check_profile(absent, profile)


def test_a_policy_considers_what_it_is_told_and_else_what_is_not_there_for_comparison(observed, profile):
    rival = Option(Kind.SPLIT, "rival", OperatingPoint("layer3", 4, 8))
    best = msgspec.structs.replace(profile.by_option[LOCAL], option=rival, accuracy=1.0, comparison=True)
    observation = msgspec.structs.replace(
        observed(), profile=msgspec.structs.replace(profile, rows=(*profile.rows, best))
    )

    def chosen(**options):
        return make_policy("greedy", options, seed=1).decide(observation).option

    assert chosen().encoding != "rival"
    assert chosen(encodings=["rival"]) == rival
    assert chosen(encodings=["raw"]).encoding in ("", "raw")
    check_profile(make_policy("greedy", {"encodings": ["rival"]}, seed=1), observation.profile)
    with pytest.raises(PolicyError, match=r"encodings: the checkpoint's profile has no rivl; it has .*rival"):
        check_profile(make_policy("greedy", {"encodings": ["rivl"]}, seed=1), observation.profile)
