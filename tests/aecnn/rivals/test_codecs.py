"""What every rival has to do, whatever its idea."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from testbed.aecnn.codec import PointCodec, Shape
from testbed.aecnn.entropy_coder import SEAL_BYTES, EntropyCoder
from testbed.aecnn.onnx_runtime import OnnxRuntime
from testbed.aecnn.parts import Decoder, Encoder, Head
from testbed.aecnn.resnet import ResNet50, fold
from testbed.jobs.decision import SPLITS
from tests.aecnn.rivals.made import RIVALS, TRAINED, calibrated, codec_of, features_like, split_of


@pytest.mark.parametrize(("width", "px"), [(0.5, 128), (1.0, 224), (0.25, 96)])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("method", RIVALS)
def test_features_become_symbols_and_features_again_at_every_split_and_width(
    method: str, split: str, width: float, px: int
) -> None:
    (codec,) = split_of(method, split, width, px).codecs
    features = features_like(1, codec.shape)
    assert features.shape == (1, *codec.shape, codec.shape.px)
    codec.eval()
    with torch.no_grad():
        symbols = codec.symbols(features)
        assert symbols.shape == (1, 8, codec.side, codec.side) and symbols.dtype == torch.int32
        recovered = codec.features(symbols)
    assert recovered.shape == features.shape and recovered.dtype == torch.float32
    assert codec.nominal_ratio == 32 * features[0].numel() / (8 * symbols[0].numel())


@pytest.mark.parametrize("method", RIVALS)
def test_a_photographs_symbols_are_its_own_and_the_same_every_time(method: str) -> None:
    features = features_like(16, Shape(32, 8))
    codec = calibrated(codec_of(method, 32, 8, 6), features)
    alone = torch.cat([codec.symbols(one[None]) for one in features])
    assert torch.equal(alone, torch.cat([codec.symbols(one[None]) for one in features]))
    together = codec.symbols(features)
    assert (alone - together).abs().max() <= 1  # sums are taken in another order
    assert (alone != together).float().mean() < 0.01
    assert len({one.numpy().tobytes() for one in alone}) == 16
    assert torch.equal(codec.features(alone), codec.features(alone))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("method", RIVALS)
def test_symbols_go_through_the_coder_at_every_number_of_bits(method: str, bits: int) -> None:
    if method == "deepjscc" and bits < 8:
        with pytest.raises(ValueError, match="an analogue sample has 8"):
            codec_of(method, 16, 8, 4, bits)
        return
    features = features_like(16, Shape(16, 8))
    codec = calibrated(codec_of(method, 16, 8, 4, bits), features)
    symbols = codec.symbols(features)
    assert symbols.min() >= 0 and symbols.max() < 1 << bits
    coder = EntropyCoder(codec.frequencies.numpy())
    sent = symbols[0].flatten(1).numpy()
    coded = coder.encode(sent)
    assert np.array_equal(coder.decode(coded, codec.side**2), sent)
    assert len(coded) <= bits * sent.size / 8 + SEAL_BYTES  # no table has been fitted: all symbols are as likely


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(RIVALS), st.integers(0, 2**32 - 1), st.floats(0, 1e4), st.integers(1, 16), st.integers(1, 9))
def test_any_features_have_symbols_and_any_symbols_finite_features(
    method: str, seed: int, scale: float, k: int, px: int
) -> None:
    codec = calibrated(codec_of(method, 16, px, k), features_like(16, Shape(16, px)))
    generator = torch.Generator().manual_seed(seed)
    features = scale * torch.randn(2, 16, px, px, generator=generator).relu()
    symbols = codec.symbols(features)
    assert symbols.min() >= 0 and symbols.max() <= 255
    received = torch.randint(0, 256, symbols.shape, generator=generator, dtype=torch.int32)
    for some in (symbols, received):
        recovered = codec.features(some)
        assert recovered.shape == features.shape and recovered.isfinite().all()


@pytest.mark.parametrize("split", ["layer1", "layer3"])
@pytest.mark.parametrize("method", RIVALS)
def test_onnx_runtime_computes_the_same(
    method: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compressed = split_of(method, split).eval()
    (codec,) = compressed.codecs
    features = features_like(24, codec.shape)
    calibrated(codec, features)
    before = codec.features(codec.symbols(features[:1]))
    fold(compressed)
    torch.testing.assert_close(codec.features(codec.symbols(features[:1])), before, rtol=0.02, atol=0.02)
    runtime = OnnxRuntime({"encoder": Encoder(compressed, codec).eval(), "decoder": Decoder(codec).eval()}, "c" * 64)
    differing = 0.0
    with torch.no_grad():
        for one in features[:8].split(1):
            symbols = codec.symbols(one)
            by_onnx = runtime.run("encoder", one)
            assert by_onnx.dtype == torch.int32 and (by_onnx - symbols).abs().max() <= 1
            differing += float((by_onnx != symbols).float().mean())
            recovered = codec.features(symbols)
            torch.testing.assert_close(runtime.run("decoder", symbols), recovered, rtol=1e-4, atol=1e-4)
            assert recovered.std() > 0
    assert differing / 8 < 0.002


@pytest.mark.parametrize("method", TRAINED)
def test_gradients_reach_every_weight_through_quantiser_and_channel(method: str) -> None:
    codec = codec_of(method, 32, 8, 6).train()
    values = codec.sent(features_like(8, codec.shape).requires_grad_())
    codec.quantiser.observe(values)
    disturbed = codec.disturbed(codec.quantiser(values), torch.Generator().manual_seed(0))
    (codec.recovered(disturbed) * torch.randn(8, 32, 8, 8)).sum().backward()
    for name, weight in codec.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.abs().max() > 0, name


@pytest.mark.parametrize("method", TRAINED)
def test_training_starts_at_the_level_of_the_features(method: str) -> None:
    features = features_like(32, Shape(32, 8)) * torch.linspace(0.1, 3, 32)[:, None, None]
    codec = codec_of(method, 32, 8, 6)
    codec.prepare(iter(features.split(8)))
    recovered = codec.train().recovered(codec.sent(features))
    levels = recovered.mean((0, 2, 3)) / features.mean((0, 2, 3))
    assert levels.min() > 0.8 and levels.max() < 2  # ReLU cuts what noise there is below 0


@pytest.mark.parametrize("method", TRAINED)
def test_a_little_training_lowers_the_error(method: str) -> None:
    """As the whole of it does: first without the quantiser, then with it."""
    codec = codec_of(method, 16, 16, 8, bits=8)
    features = features_like(192, codec.shape, grain=4)
    optimiser = torch.optim.AdamW(codec.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    start = error_of(calibrated(codec, features[:128]), features[128:])
    codec.requires_grad_(True)
    for step in range(100):
        codec.train()
        batch = features[torch.randint(0, 128, (32,), generator=generator)]
        values = codec.sent(batch)
        codec.quantiser.observe(values)
        sent = values if step < 50 else codec.quantiser(values)
        loss = (codec.recovered(codec.disturbed(sent, generator)) - batch).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert error_of(codec.eval(), features[128:]) < 0.4 * start


def error_of(codec: PointCodec, features: torch.Tensor) -> float:
    """Mean square of what inference gets wrong, over the features' variance."""
    with torch.no_grad():
        return float((codec.features(codec.symbols(features)) - features).square().mean() / features.var())


@pytest.mark.parametrize("method", RIVALS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_devices_part_is_small_beside_the_head(method: str, split: str) -> None:
    compressed = split_of(method, split, k=12)
    (codec,) = compressed.codecs
    features = features_like(1, codec.shape)
    head = flops_of(Head(ResNet50(5, 0.5, original=True), compressed), torch.zeros(1, 3, 128, 128, dtype=torch.uint8))
    encoder = flops_of(Encoder(compressed, codec), features)
    channels, px = codec.shape
    k, side = 12, codec.side
    positions, halved = px**2, (px // 2) ** 2
    narrow = channels // 4
    multiplications = {
        "bottlenet++": 9 * (channels + 1) * k * positions,
        "bottlenet++awgn": 9 * (channels + 1) * k * positions,
        "deepjscc": 9 * channels * k * positions,
        "entropic-student": 9 * channels * narrow * halved + narrow**2 * halved + 9 * narrow * k * side**2,
        "pca": channels * k * positions,
        "random": 0,
    }
    assert encoder == 2 * multiplications[method]
    assert encoder < 0.2 * head


def flops_of(part: torch.nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        part.eval()(x)
    return counter.get_total_flops()
