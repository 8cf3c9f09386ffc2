"""The schema and the models agree on what is a document."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from testbed.documents.json_schema import json_schema
from testbed.documents.topology import Topology
from testbed.documents.workload import Workload

ROOT = Path(__file__).parents[2]
TOPOLOGIES, WORKLOADS = (sorted((ROOT / folder).glob("*.yaml")) for folder in ("topologies", "workloads"))
ERRORS = Path(__file__).parent / "errors"


@pytest.mark.parametrize("path", TOPOLOGIES + WORKLOADS, ids=lambda path: path.stem)
def test_shipped_files_are_valid(path):
    schema = json_schema(Topology if path in TOPOLOGIES else Workload)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)


@pytest.mark.parametrize(
    "name",
    [
        "bare_numbers",
        "wrong_units",
        "unknown_fields",
        "missing_fields",
        "wrong_types",
        "bad_names",
        "channels",
        "nodes",
        "machines",
        "placement",
    ],
)
def test_broken_topologies_are_invalid(name):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load((ERRORS / f"{name}.yaml").read_text()), json_schema(Topology))


@pytest.mark.parametrize(
    "name", ["workload_fields", "workload_policies", "workload_policy_wrong", "workload_impossible_events"]
)
def test_broken_workloads_are_invalid(name):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load((ERRORS / f"{name}.yaml").read_text()), json_schema(Workload))


@pytest.mark.parametrize("model", [Topology, Workload])
def test_every_field_says_what_it_means(model):
    schema = json_schema(model)
    for each in [schema, *schema["$defs"].values()]:
        for name, field in each["properties"].items():
            assert len(field["description"]) > 10, name


def test_a_quantity_shows_how_it_is_written():
    bandwidth = json_schema(Topology)["$defs"]["Link"]["properties"]["bandwidth"]
    assert bandwidth["type"] == "string"
    assert bandwidth["examples"] == ["10 Mbit/s"]
    assert "default" not in bandwidth
    assert json_schema(Workload)["properties"]["seed"]["default"] == 0
