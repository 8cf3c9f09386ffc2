import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.aecnn.checkpoint import CheckpointError, load_checkpoint, load_profile
from testbed.aecnn.inference import SplitModel
from testbed.aecnn.loading import load_model
from testbed.aecnn.payload import HEADER_BYTES, PayloadError
from testbed.aecnn.photographs import Photographs, open_photographs
from testbed.aecnn.whole_photograph import encode_whole
from testbed.jobs.decision import JPEG, LOCAL, RAW, Kind, Option


@pytest.fixture(scope="module")
def model() -> SplitModel:
    return load_model()


@pytest.fixture(scope="module")
def sample(model: SplitModel) -> Photographs:
    return open_photographs("sample", model.classes)


def points(model: SplitModel) -> list[Option]:
    return [option for option in model.options if option.kind is Kind.SPLIT]


def own_points(model: SplitModel) -> list[Option]:
    return [option for option in points(model) if option not in model.comparisons]


def test_prepared_payloads_and_predictions_are_those_of_the_single_stages(
    model: SplitModel, sample: Photographs
) -> None:
    chosen = [5, 100, 300]
    told: list[float] = []
    prepared = list(model.prepare(sample, chosen, told.append))
    assert [(one.image, one.option) for one in prepared] == [(i, option) for i in chosen for option in model.options]
    assert told == pytest.approx([1 / 3, 2 / 3, 1])
    for one in prepared:
        photograph = sample.jpeg(one.image) if one.option == JPEG else sample.pixels(one.image)
        features = model.head(photograph, one.option)
        payload = model.encode(features, one.option, one.image)
        assert payload == one.payload
        answer = features if one.option.kind is Kind.LOCAL else model.decode(payload, one.option, one.image)
        assert model.tail(answer, one.option) == one.predicted


def test_uncompressed_decisions_agree_and_their_payloads_are_the_photographs_bytes(
    model: SplitModel, sample: Photographs
) -> None:
    prepared = {one.option: one for one in model.prepare(sample, [7], lambda share: None)}
    assert prepared[LOCAL].payload == b""
    assert prepared[RAW].payload == sample.pixels(7).tobytes()
    assert prepared[JPEG].payload == sample.jpeg(7)
    assert prepared[LOCAL].predicted == prepared[RAW].predicted == prepared[JPEG].predicted
    assert prepared[LOCAL].predicted == model.predict_local(sample.pixels(7))


def test_every_point_decodes_to_the_symbols_that_were_encoded(model: SplitModel, sample: Photographs) -> None:
    for option in points(model):
        if option.encoding == "deepjscc":  # what arrives of an analogue signal is noisy
            continue
        features = model.head(sample.pixels(11), option)
        symbols = model.symbols(features, option)
        assert option.point is not None
        assert symbols.shape[0] == option.point.kept_channels and symbols.max() < 1 << option.point.bits
        assert np.array_equal(model.unpack(model.encode(features, option, 11), option, 11), symbols)


def test_damaged_and_foreign_payloads_are_refused(model: SplitModel, sample: Photographs) -> None:
    options = points(model)
    payloads = {option: model.encode(model.head(sample.pixels(3), option), option, 3) for option in options}
    for option, other in zip(options, options[1:] + options[:1], strict=True):
        with pytest.raises(PayloadError):
            model.decode(payloads[other], option, 3)
        with pytest.raises(PayloadError, match="photograph 3"):
            model.decode(payloads[option], option, 4)
        with pytest.raises(PayloadError):
            model.decode(payloads[option][:-1] + bytes([payloads[option][-1] ^ 1]), option, 3)
    for option, payload in ((RAW, b"short"), (JPEG, b"no JPEG"), (JPEG, sample.jpeg(3)[:300])):
        with pytest.raises(PayloadError):
            model.decode(payload, option, 3)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_jpeg_is_refused_or_decoded_to_a_photograph(
    model: SplitModel, sample: Photographs, data: st.DataObject
) -> None:
    payload = bytearray(sample.jpeg(3))
    for bit in data.draw(st.sets(st.integers(0, 8 * len(payload) - 1), max_size=20)):
        payload[bit // 8] ^= 1 << bit % 8
    cut = data.draw(st.integers(0, len(payload)))
    try:
        pixels = model.decode(bytes(payload[:cut]), JPEG, 3)
    except PayloadError:
        return
    assert pixels.shape == (128, 128, 3) and pixels.dtype == np.uint8


def test_a_jpeg_of_another_size_or_of_too_many_bytes_is_refused_before_it_is_decoded(model: SplitModel) -> None:
    vast = bytearray(encode_whole(np.zeros((16, 16, 3), np.uint8), JPEG))
    size = vast.index(b"\xff\xc0") + 5
    vast[size : size + 4] = bytes([0x20, 0, 0x20, 0])  # the header says 8,192 x 8,192
    with pytest.raises(PayloadError, match="8192 x 8192"):
        model.decode(bytes(vast), JPEG, 3)
    with pytest.raises(PayloadError, match="photograph of 1000000 bytes"):
        model.decode(bytes(1_000_000), JPEG, 3)


def test_the_network_after_saving_is_the_one_before(model: SplitModel, sample: Photographs) -> None:
    """Folding, and 16-bit storage, against the checkpoint's own modules in float32."""
    checkpoint = load_checkpoint()
    pixels = torch.from_numpy(sample.pixels(0).transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        assert int(checkpoint.network(pixels).argmax()) == model.predict_local(sample.pixels(0))
        assert checkpoint.sha256 == model.sha256


def test_the_shipped_profile_is_of_the_shipped_checkpoint_and_its_options(model: SplitModel) -> None:
    assert model.profile.checkpoint == model.sha256
    assert tuple(row.option for row in model.profile.rows) == model.options
    assert model.profile.images == "sample" and model.profile.n == 641
    assert model.profile.runtime.startswith("onnxruntime ")


def test_the_shipped_points_are_the_ones_promised(model: SplitModel) -> None:
    ratios = {str(option.point): model.nominal_ratio(option) for option in own_points(model)}
    assert len(ratios) == 11
    for name in ("layer3/k16/b4", "layer3/k32/b2", "layer2/k16/b2"):
        assert ratios[name] == 256
    assert ratios["layer3/k16/b2"] == ratios["layer2/k8/b2"] == 512
    rivals = {option.encoding for option in model.comparisons}
    assert {"bottlenet++", "deepjscc", "entropic-student", "exit-layer2", "exit-layer3", "webp-10"} <= rivals


def test_the_profile_adds_up(model: SplitModel) -> None:
    rows = model.profile.by_option
    whole = rows[LOCAL].head_flops
    assert 0.5e9 < whole < 1e9
    assert rows[RAW].tail_flops == rows[JPEG].tail_flops == whole
    assert rows[RAW].head_flops == rows[JPEG].head_flops == 0
    assert rows[RAW].payload_mean == 3 * 128 * 128
    assert rows[LOCAL].payload_mean == 0
    for option in own_points(model):
        row = rows[option]
        assert row.head_flops + row.tail_flops == pytest.approx(whole)
        assert 0 < row.encode_flops <= 0.1 * row.head_flops and 0 < row.decode_flops < 0.2 * whole
        assert HEADER_BYTES < row.payload_mean <= row.payload_p95


def test_a_profile_of_another_checkpoint_is_refused(model: SplitModel) -> None:
    with pytest.raises(CheckpointError, match="this is ffffffff"):
        load_profile(load_checkpoint().path, "f" * 64)


def test_what_is_no_checkpoint_is_named() -> None:
    with pytest.raises(CheckpointError, match="absent"):
        load_model("absent.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_model(__file__)
