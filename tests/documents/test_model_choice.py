"""The model that a workload names, and the split that its policy is fixed to."""

import jsonschema
import pytest

from testbed.documents.errors import DocumentErrors
from testbed.documents.json_schema import json_schema
from testbed.documents.loading import parse_workload
from testbed.documents.located import Source
from testbed.documents.workload import Workload, is_class

REST = {"name": "brief", "duration": "1 s", "deadline": "1 s", "arrivals": {"process": "poisson", "rate": "2 /s"}}
FIXED = {"name": "fixed", "split": "block3", "kept_channels": 8, "bits": 16}


def workload(model: object, policy: object = "greedy") -> dict[str, object]:
    return {**REST, "model": model, "offloading": {"policy": policy}}


@pytest.mark.parametrize("name", ["default", "weights/mine.safetensors", "mine:Mine"])
def test_a_name_alone_is_the_checkpoint(name: str) -> None:
    short, long = (Workload.model_validate(workload(model)) for model in (name, {"checkpoint": name}))
    assert short == long
    assert Workload.model_validate(short.document()) == short
    for model in (name, {"checkpoint": name}):
        jsonschema.validate(workload(model), json_schema(Workload))


@pytest.mark.parametrize("model", ["", 3, ["default"], {"checkpoint": "", "images": "sample"}])
def test_other_values_are_refused_by_model_and_schema(model: object) -> None:
    with pytest.raises(ValueError):
        Workload.model_validate(workload(model))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(workload(model), json_schema(Workload))


def test_what_names_a_class() -> None:
    assert all(map(is_class, ["mine:Mine", "package.module:Class", "_a.b_2:C3"]))
    assert not any(map(is_class, ["default", "a/b:C", "mine.safetensors", "mine:", ":Mine", "mine:Mine:More", "a-b:C"]))


def test_a_class_computes_by_itself() -> None:
    source = Source("f.yaml", "name: brief\nmodel: {checkpoint: mine:Mine, runtime: torch}\n")
    with pytest.raises(DocumentErrors) as refused:
        parse_workload(source)
    assert "f.yaml:2:8: model: 'mine:Mine' computes by itself, leave `runtime` out" in str(refused.value)


def test_another_methods_splits_have_names_of_their_own() -> None:
    document = Workload.model_validate(workload("mine:Mine", {**FIXED, "encoding": "mine"}))
    assert document.policies[0].options == {"encoding": "mine", "split": "block3", "kept_channels": 8, "bits": 16}
    with pytest.raises(ValueError, match="'block3' is not allowed, use stem, layer1, layer2, layer3"):
        Workload.model_validate(workload("default", FIXED))
