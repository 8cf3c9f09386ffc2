"""The shipped checkpoint on the shipped photographs: what the project promises of it."""

import zipfile
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

from testbed.aecnn.checkpoint import DATA, checkpoint_path, load_checkpoint, profile_path
from testbed.aecnn.division import Division
from testbed.aecnn.entropy_coder import EntropyCoder
from testbed.aecnn.loading import load_model
from testbed.aecnn.payload import HEADER_BYTES
from testbed.aecnn.photographs import SAMPLE, open_photographs
from testbed.jobs.decision import LOCAL, Kind, OperatingPoint, Option

REPOSITORY = Path(__file__).parents[2]


def test_accuracy_payload_and_exactness_over_the_whole_sample() -> None:
    model = load_model()
    sample = open_photographs("sample", model.classes)
    point = OperatingPoint("layer3", 16, 4)
    option = Option(Kind.SPLIT, "aecnn", point)
    promised = model.profile.by_option[option]
    assert promised.nominal_ratio == 256
    coder = EntropyCoder(load_checkpoint().splits[point.split].codec(point).frequencies.numpy())
    uncompressed, compressed, sizes = [], [], []
    for index in range(len(sample)):
        pixels, label = sample.pixels(index), sample.label(index)
        uncompressed.append(model.predict_local(pixels) == label)
        features = model.head(pixels, option)
        payload = model.encode(features, option, index)
        symbols = model.unpack(payload, option, index)
        assert np.array_equal(symbols, model.symbols(features, option))
        assert len(payload) <= coder.cross_entropy_bits(symbols) / 8 + 8 + HEADER_BYTES
        compressed.append(model.tail(model.decode(payload, option, index), option) == label)
        sizes.append(len(payload))
    assert np.mean(uncompressed) >= 0.90
    assert np.mean(compressed) >= np.mean(uncompressed) - 0.03
    assert max(sizes) <= 600
    # what other machines' arithmetic changes is a photograph or two
    assert np.mean(uncompressed) == pytest.approx(model.profile.by_option[LOCAL].accuracy, abs=0.01)
    assert np.mean(compressed) == pytest.approx(promised.accuracy, abs=0.01)
    assert np.mean(sizes) == pytest.approx(promised.payload_mean, rel=0.01)


def test_the_sample_has_at_least_three_photographs_of_each_class_and_is_stored() -> None:
    sample = open_photographs("sample")
    count = Counter(sample.label(index) for index in range(len(sample)))
    assert len(sample) == 641 and len(sample.classes) == 101 == len(count)
    assert min(count.values()) == 3
    with zipfile.ZipFile(SAMPLE) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert np.mean([len(sample.jpeg(index)) for index in range(len(sample))]) == pytest.approx(5000, rel=0.2)


def test_the_sample_was_never_trained_on() -> None:
    division = msgspec.json.decode((DATA / "default.division.json").read_bytes(), type=Division)
    sample = open_photographs("sample")
    names = {sample.name(index) for index in range(len(sample))}
    assert names == set(division.test)
    assert not names & {*division.train, *division.validation}
    assert len(division.train) > 7000


def test_what_is_shipped_is_as_small_as_promised_and_attributed() -> None:
    shipped = [*REPOSITORY.glob("testbed/**/*.safetensors"), *REPOSITORY.glob("examples/**/*.safetensors")]
    assert checkpoint_path("default") in shipped and sum(path.stat().st_size for path in shipped) <= 40e6
    assert SAMPLE.stat().st_size <= 4e6
    assert profile_path(checkpoint_path("default")).exists()
    attribution = (DATA / "ATTRIBUTION.md").read_text()
    for word in ("Fei-Fei Li", "Marco Andreetto", "Marc'Aurelio Ranzato", "Pietro Perona", "CC BY 4.0", "D1.20086"):
        assert word in attribution
