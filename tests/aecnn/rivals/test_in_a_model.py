"""Rivals in a checkpoint beside each other, computed as jobs are: payloads, predictions, what arrives."""

import numpy as np
import pytest
import torch

from testbed.aecnn.checkpoint import load_checkpoint, save_checkpoint
from testbed.aecnn.compression import CompressedSplit, Layout
from testbed.aecnn.inference import SplitModel
from testbed.aecnn.payload import HEADER_BYTES
from testbed.aecnn.photographs import Photographs, open_photographs
from testbed.aecnn.resnet import ResNet50
from testbed.jobs.decision import Kind, OperatingPoint, Option
from tests.aecnn.rivals.made import RIVALS, calibrated

WIDTH = 0.25


@pytest.fixture(scope="module")
def sample() -> Photographs:
    return open_photographs("sample", load_checkpoint().description.classes)


@pytest.fixture(scope="module")
def model(sample: Photographs, tmp_path_factory: pytest.TempPathFactory) -> SplitModel:
    """A network that knows nothing, with one operating point of every rival."""
    torch.manual_seed(0)
    classes = load_checkpoint().description.classes
    network = ResNet50(len(classes), WIDTH, original=True).eval()
    photographs = [torch.from_numpy(sample.pixels(index).transpose(2, 0, 1).copy()) for index in range(0, 64, 4)]
    pixels = torch.stack(photographs)
    splits = []
    for method in RIVALS:
        split = "layer1" if method == "entropic-student" else "layer3"
        compressed = CompressedSplit(
            Layout(split, (OperatingPoint(split, 8, 8),), (), method), WIDTH, 128, original=True
        )
        with torch.no_grad():
            calibrated(compressed.codecs[0], network.head(pixels, split))
        splits.append(compressed.eval())
    path = tmp_path_factory.mktemp("rivals") / "checkpoint.safetensors"
    save_checkpoint(path, network, WIDTH, classes, splits)
    return SplitModel(load_checkpoint(path), "torch")


def rivals(model: SplitModel) -> list[Option]:
    return [option for option in model.options if option.kind is Kind.SPLIT]


def test_every_rival_is_an_option(model: SplitModel) -> None:
    assert tuple(option.encoding for option in rivals(model)) == RIVALS


def test_prepared_payloads_and_predictions_are_those_of_the_single_stages(
    model: SplitModel, sample: Photographs
) -> None:
    prepared = {(one.image, one.option): one for one in model.prepare(sample, [3, 70], lambda share: None)}
    for image in (3, 70):
        for option in rivals(model):
            one = prepared[image, option]
            payload = model.encode(model.head(sample.pixels(image), option), option, image)
            assert payload == one.payload
            assert model.tail(model.decode(payload, option, image), option) == one.predicted


def test_only_the_air_of_an_analogue_method_changes_what_arrives(model: SplitModel, sample: Photographs) -> None:
    for option in rivals(model):
        sent = model.symbols(model.head(sample.pixels(5), option), option)
        arrived = [model.unpack(model.pack(sent, option, image), option, image) for image in (5, 5, 6)]
        assert np.array_equal(arrived[0], arrived[1])
        if option.encoding == "deepjscc":
            assert not np.array_equal(arrived[0], sent) and not np.array_equal(arrived[0], arrived[2])
            assert arrived[0].min() >= 0 and arrived[0].max() <= 255
        else:
            assert np.array_equal(arrived[0], sent)


def test_an_analogue_sample_takes_a_byte(model: SplitModel, sample: Photographs) -> None:
    (option,) = (option for option in rivals(model) if option.encoding == "deepjscc")
    payload = model.encode(model.head(sample.pixels(5), option), option, 5)
    assert 8 * 64 <= len(payload) - HEADER_BYTES <= 8 * 64 + 8
