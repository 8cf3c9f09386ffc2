"""Whatever happens to links and nodes, and whenever: every job is accounted for once, and its stages sum."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from testbed.documents.resolved import (
    CutEvent,
    Event,
    KillEvent,
    LinkChange,
    LinkEvent,
    PolicySpec,
    StartEvent,
    StopEvent,
)
from testbed.jobs.ledger import STAGES, Outcome
from testbed.reporting.verdict import ANSWERED, Evidence, judge
from tests.simulation.conftest import jobs, simulated, star

POLICIES = [
    PolicySpec("local"),
    PolicySpec("greedy"),
    PolicySpec("random"),
    PolicySpec("full", {"encoding": "raw"}),
    PolicySpec("full", {"encoding": "jpeg"}),
]
INSTANTS = st.integers(0, 3000).map(lambda ms: ms / 1000)
LINKS = st.sampled_from([(("dev1", "ap1"),), (("dev1", "ap1"), ("dev2", "ap1")), (("edge1", "ap1"),)])
NODES = st.sampled_from(["dev1", "dev2", "edge1", "ap1"])
CHANGES = st.builds(
    LinkChange,
    bandwidth_bps=st.sampled_from([None, 3e4, 1e6, 1e8]),
    delay_s=st.sampled_from([None, 0.0, 0.05]),
    jitter_s=st.sampled_from([None, 0.0, 0.02]),
    loss=st.sampled_from([None, 0.0, 0.1, 0.5]),
    burst=st.sampled_from([None, 4.0]),
)
EVENTS = st.one_of(
    st.builds(LinkEvent, INSTANTS, LINKS, CHANGES, CHANGES),
    st.builds(lambda at_s, links: LinkEvent(at_s, links, restore=True), INSTANTS, LINKS),
    st.builds(lambda at_s, for_s, links: CutEvent(at_s, at_s + for_s, links), INSTANTS, INSTANTS, LINKS),
    st.builds(StopEvent, INSTANTS, NODES),
    st.builds(StartEvent, INSTANTS, NODES),
    st.builds(KillEvent, INSTANTS, st.just("edge1")),
)


@settings(max_examples=80, deadline=None)
@given(
    events=st.lists(EVENTS, max_size=6).map(lambda events: sorted(events, key=lambda event: event.at_s)),
    policy=st.sampled_from(POLICIES),
    loss=st.sampled_from([0.0, 0.05]),
    every_s=st.sampled_from([0.02, 0.3]),
    chained_s=st.sampled_from([None, 2.0]),
)
@example([KillEvent(0.491, "edge1")] * 2, POLICIES[3], 0.0, 0.02, 2.0)  # as a request is answered
def test_the_ledger_balances(
    events: list[Event], policy: PolicySpec, loss: float, every_s: float, chained_s: float | None
) -> None:
    topology = star(bandwidth_bps=4e6, loss=loss)
    issued = jobs(topology, 12, every_s=0.0 if chained_s else every_s)
    found = simulated(topology, issued, policy, events, chained_s)
    assert not judge(found.rows, len(found.rows) if chained_s else len(issued), Evidence())
    for row in found.rows:
        assert (row.error is None) == (row.outcome in ANSWERED)
        if row.outcome in ANSWERED:
            assert all(getattr(row, f"{stage}_ms") > -1e-6 for stage in STAGES)
        assert (row.attempts == 0 and row.wire_bytes == 0) or row.decision == "local" or row.attempts >= 1
        assert row.outcome is not Outcome.DROPPED or row.attempts == 0
