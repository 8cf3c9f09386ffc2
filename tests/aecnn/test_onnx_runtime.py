"""ONNX Runtime beside torch: the same network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from testbed.aecnn.inference import SplitModel
from testbed.aecnn.loading import load_model
from testbed.aecnn.onnx_runtime import OnnxRuntime
from testbed.aecnn.photographs import Photographs, open_photographs
from testbed.jobs.decision import Kind

CHOSEN = (0, 60, 140, 210, 290, 370, 430)


@pytest.fixture(scope="module")
def by_onnx() -> SplitModel:
    return load_model("default", "onnx")


@pytest.fixture(scope="module")
def by_torch(by_onnx: SplitModel) -> SplitModel:
    return by_onnx.by_torch()


@pytest.fixture(scope="module")
def sample(by_onnx: SplitModel) -> Photographs:
    return open_photographs("sample", by_onnx.classes)


def test_features_and_classes_are_those_of_torch(
    by_onnx: SplitModel, by_torch: SplitModel, sample: Photographs
) -> None:
    assert by_onnx.runtime.startswith("onnxruntime ") and by_torch.runtime.startswith("torch ")
    for index in CHOSEN:
        pixels = sample.pixels(index)
        assert by_onnx.predict_local(pixels) == by_torch.predict_local(pixels)
        for option in by_onnx.options:
            if option.kind is not Kind.SPLIT:
                continue
            features = by_torch.head(pixels, option)
            assert torch.allclose(by_onnx.head(pixels, option), features, rtol=1e-4, atol=1e-4)
            symbols = by_torch.symbols(features, option)
            recovered = by_torch.recover(symbols, option)
            assert torch.allclose(by_onnx.recover(symbols, option), recovered, rtol=1e-4, atol=1e-4)
            assert by_onnx.tail(recovered, option) == by_torch.tail(recovered, option)


def test_a_symbol_differs_from_torchs_by_one_step_where_a_value_lies_between_two_and_hardly_ever(
    by_onnx: SplitModel, by_torch: SplitModel, sample: Photographs
) -> None:
    differing = n = 0
    for index in CHOSEN:
        for option in by_onnx.options:
            if option.kind is Kind.SPLIT:
                one, other = (
                    model.symbols(model.head(sample.pixels(index), option), option) for model in (by_onnx, by_torch)
                )
                assert np.abs(one - other).max() <= 1
                differing += int((one != other).sum())
                n += one.size
    assert differing <= n / 10_000


def test_another_runtime_has_another_fingerprint(by_onnx: SplitModel, by_torch: SplitModel) -> None:
    assert by_onnx.fingerprint != by_torch.fingerprint


def test_a_part_is_exported_once_and_for_its_checkpoint_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    x = torch.tensor([[-1.0, 2.0]])
    assert OnnxRuntime({"part": torch.nn.ReLU()}, "a" * 64).run("part", x).tolist() == [[0, 2]]
    (kept,) = tmp_path.rglob("*.onnx")
    assert OnnxRuntime({}, "a" * 64).run("part", x).tolist() == [[0, 2]]
    assert OnnxRuntime({"part": torch.nn.Hardtanh()}, "b" * 64).run("part", x).tolist() == [[-1, 1]]
    assert kept in (both := list(tmp_path.rglob("*.onnx"))) and len(both) == 2
