from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.aecnn.codec import Shape
from testbed.aecnn.rivals.deepjscc import PEAK, AnalogueCodec
from tests.aecnn.rivals.made import calibrated, codec_of, features_like


def analogue(channels: int = 32, px: int = 8, k: int = 6) -> AnalogueCodec:
    codec = codec_of("deepjscc", channels, px, k)
    assert isinstance(codec, AnalogueCodec)
    return codec


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.integers(1, 24), st.integers(1, 12), st.booleans())
def test_every_photograph_is_sent_with_power_1(seed: int, scale: float, k: int, px: int, training: bool) -> None:
    codec = analogue(16, px, k).train(training)
    generator = torch.Generator().manual_seed(seed)
    features = scale * torch.rand(3, 16, px, px, generator=generator)
    power = codec.sent(features).square().mean((1, 2, 3))
    torch.testing.assert_close(power, torch.ones(3), rtol=1e-3, atol=0)


def test_a_photograph_without_features_is_sent_as_numbers() -> None:
    codec = analogue().eval()
    assert codec.sent(torch.zeros(1, 32, 8, 8)).isfinite().all()


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_the_air_adds_noise_of_the_ratio_asked_in_training_and_at_inference(snr_db: float) -> None:
    codec = analogue()
    codec.snr_db.fill_(snr_db)
    features = features_like(64, codec.shape)
    calibrated(codec, features)
    sent = codec.quantiser(codec.sent(features))
    expected = 10 ** (-snr_db / 10)
    for training in (True, False):
        codec.train(training)
        noise = codec.disturbed(sent, torch.Generator().manual_seed(0)) - sent
        # less by what the receiver's converter clips, which is little even at 0 dB
        assert 0.97 * expected < float(noise.square().mean()) < 1.02 * expected


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_noise_in_symbols_is_the_airs(snr_db: float) -> None:
    codec = analogue()
    codec.snr_db.fill_(snr_db)
    features = features_like(64, codec.shape)
    calibrated(codec, features)
    symbols = codec.symbols(features).numpy()
    drawn = np.random.default_rng(0).normal(0, codec.noise, symbols.shape)
    received = torch.from_numpy(np.clip(symbols + np.rint(drawn), 0, 255).astype(np.int32))
    values = [codec.quantiser.values(one.float()) for one in (torch.from_numpy(symbols), received)]
    assert float((values[1] - values[0]).square().mean()) == pytest.approx(10 ** (-snr_db / 10), rel=0.05)


def test_by_default_the_ratio_is_10_db_and_a_sample_takes_a_byte() -> None:
    codec = analogue(k=6)
    assert codec.noise == pytest.approx(0.1**0.5 * 255 / (2 * PEAK))
    assert codec.uniform and (codec.frequencies == codec.frequencies[0, 0]).all()
    assert codec.channel_uses == 6 * 64
    assert codec.nominal_ratio == 32 * 32 * 64 / (8 * codec.channel_uses)


def test_converters_clip_few_samples_and_round_finely() -> None:
    features = features_like(64, Shape(32, 8))
    codec = calibrated(analogue(), features)
    sent = codec.sent(features)
    assert (sent.abs() > PEAK).float().mean() < 0.01
    rounding = (codec.quantiser(sent) - sent.clamp(-PEAK, PEAK)).square().mean()
    assert float(rounding) < 1e-3 * codec.quantiser.values(codec.symbols(features).float()).square().mean()


def test_a_codec_keeps_the_ratio_it_was_trained_for() -> None:
    codec = analogue()
    codec.snr_db.fill_(3.0)
    other = analogue()
    other.load_state_dict(codec.state_dict())
    assert other.noise == codec.noise != analogue().noise


def test_more_noise_does_more_harm_and_never_all_at_once() -> None:
    """A trained bottleneck degrades with the air: there is no ratio below which nothing arrives."""
    codec = analogue(k=12)
    features = features_like(192, codec.shape)
    generator = torch.Generator().manual_seed(0)
    codec.prepare(iter(features[:128].split(32)))
    optimiser = torch.optim.AdamW(codec.parameters(), 1e-2)
    for _ in range(150):
        batch = features[torch.randint(0, 128, (32,), generator=generator)]
        received = codec.recovered(codec.disturbed(codec.quantiser(codec.sent(batch)), generator))
        loss = (received - batch).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    codec.eval()
    errors = []
    with torch.no_grad():
        for snr_db in (30.0, 20.0, 15.0, 10.0, 5.0, 0.0):
            codec.snr_db.fill_(snr_db)
            received = codec.disturbed(codec.quantiser(codec.sent(features[128:])), generator)
            errors.append(float((codec.recovered(received) - features[128:]).square().mean()))
    assert errors == sorted(errors)
    assert errors[0] < 0.5 * float(features[128:].var())
    assert all(worse < 4 * better for better, worse in pairwise(errors))
