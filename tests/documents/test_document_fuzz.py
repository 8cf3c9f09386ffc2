"""No input gives anything but a document or located errors."""

import contextlib
from pathlib import Path

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from testbed.documents.errors import DocumentErrors
from testbed.documents.loading import load_topology, parse_topology, parse_workload
from testbed.documents.located import Source
from testbed.documents.resolve import resolve

ROOT = Path(__file__).parents[2]
STAR = resolve(load_topology(ROOT / "topologies" / "star.yaml"))
SHIPPED = [
    path.read_text() for folder in ("topologies", "workloads") for path in sorted((ROOT / folder).glob("*.yaml"))
]


def read(text: str) -> None:
    for parse in (parse_topology, lambda source: parse_workload(source, STAR)):
        try:
            parse(Source("fuzz.yaml", text))
        except DocumentErrors as found:
            lines = str(found).split("\n")
            assert len(lines) == len(found.errors) > 0
            assert all(line.startswith("fuzz.yaml:") and line.isprintable() for line in lines)


@given(st.text())
@settings(deadline=None)
@example('"\\U00110000"')
@example('"\\ud800"')
@example('name: "\\ud800"\nlinks: []')
@example("%YAML 1." + "1" * 5000 + "\n--- a")
@example("name: " + "1" * 5000)
@example("name: 1e999")
@example("? [a, b]\n: c")
@example("&a [*a]")
@example("\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 2000)).replace("*a0", "&a0 x"))
@example("[" * 2000)
@example("- " * 2000)
@example("{a: " * 2000)
@example("!!python/name:os.system x")
def test_any_text(text):
    read(text)


@given(st.sampled_from(SHIPPED), st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_shipped_file_with_a_piece_replaced(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    piece = data.draw(
        st.one_of(st.text(max_size=5), st.sampled_from(["*", "[", "{}", "null", "- ", "dev*", ".nan", "7", "\n"]))
    )
    read(text[:start] + piece + text[end:])


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["dev", "dev*", "ap1", "edge1", "live", "1 Mbit/s", "5 ms", "3 %", "full", "fixed", "greedy", "10 s"]
    ),
)
FIELDS = (
    "name access_points edges devices links machines between bandwidth delay up down access_point compute gflops count "
    "model duration seed deadline arrivals rate process offloading policy events at set restore kill edge split bits"
)
KEYS = st.sampled_from([*FIELDS.split(), "dev", "ap1", "edge1", "dve"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@given(st.sampled_from(SHIPPED), st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_shipped_file_with_any_value_anywhere(text, data):
    document = yaml.safe_load(text)
    where = document
    while True:
        keys = list(where) if isinstance(where, dict) else range(len(where))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if not isinstance(where[key], dict | list) or data.draw(st.booleans()):
            where[data.draw(st.one_of(st.just(key), KEYS)) if isinstance(where, dict) else key] = data.draw(VALUES)
            break
        where = where[key]
    with contextlib.suppress(yaml.YAMLError):
        read(yaml.safe_dump(document))
