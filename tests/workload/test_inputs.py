"""What a workload's policies may choose, and is prepared for them."""

from pathlib import Path

import pytest

from testbed import api
from testbed.documents.resolve import resolve
from testbed.jobs.decision import JPEG, LOCAL, RAW
from testbed.workload.inputs import Inputs, draw_inputs

TOPOLOGY = {
    "name": "two",
    "access_points": {"ap1": {}},
    "edges": {"edge1": {"access_point": "ap1", "compute": {"gflops": 100}}},
    "devices": {"dev": {"count": 2, "compute": {"gflops": 5}}},
    "links": [{"between": ["*", "ap1"], "bandwidth": "10 Mbit/s"}],
}


def drawn(policy: object) -> Inputs:
    workload = {
        "name": "w",
        "duration": "2 s",
        "deadline": "200 ms",
        "arrivals": {"process": "periodic", "rate": "2 /s"},
        "offloading": {"policy": policy},
    }
    topology = api.read_topology(TOPOLOGY)
    return draw_inputs(api.read_workload(workload), resolve(topology), 1, lambda share: None)


def encodings(inputs: Inputs) -> set[str]:
    return {option.encoding for option in inputs.choosable}


def test_what_is_there_for_comparison_is_prepared_for_who_names_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plain = drawn(["local", "greedy", "turns:Turns"])
    assert {LOCAL, RAW, JPEG} < set(plain.choosable) and encodings(plain) == {"", "raw", "jpeg", "aecnn"}
    weighed = drawn({"name": "greedy", "encodings": ["jpeg", "bottlenet++"]})
    assert encodings(weighed) == encodings(plain) | {"bottlenet++"}
    bound = drawn(["greedy", {"name": "full", "encoding": "webp-10"}])
    assert encodings(bound) == encodings(plain) | {"webp-10"}
    assert len({plain.store, weighed.store, bound.store}) == 3 and plain.store == drawn("local").store
    assert len(plain.profile.rows) > len(plain.choosable)  # errors name all that there is
