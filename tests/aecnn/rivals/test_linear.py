import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from testbed.aecnn.codec import PointCodec, Shape
from testbed.aecnn.rivals.linear import LinearCodec, RandomChannels
from testbed.aecnn.rivals.moments import Moments
from tests.aecnn.rivals.made import calibrated, codec_of, features_like

SHAPE = Shape(16, 6)


def fitted(method: str, features: Tensor, k: int) -> LinearCodec:
    codec = codec_of(method, features.shape[1], features.shape[2], k)
    assert isinstance(codec, LinearCodec)
    codec.prepare(iter(features.split(10)))
    return codec


def error(codec: PointCodec, features: Tensor) -> float:
    return float((codec.recovered(codec.sent(features)) - features).double().square().mean())


def rows_of(features: Tensor) -> np.ndarray:
    return features.transpose(0, 1).flatten(1).T.double().numpy()


def test_moments_are_those_of_all_positions_whatever_the_batches() -> None:
    features = features_like(50, SHAPE) + 100  # a mean far beyond the deviation
    rows = rows_of(features)
    moments = Moments(16)
    for batch in features.split(7):
        moments.add(batch)
    np.testing.assert_allclose(moments.mean.numpy(), rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance.numpy(), np.cov(rows.T, bias=True), rtol=1e-6, atol=1e-9)


def test_moments_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no features"):
        _ = Moments(4).mean


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 16))
def test_principal_components_are_the_best_linear_map(seed: int, k: int) -> None:
    """The error is that of the truncated singular value decomposition, which no map of that rank can beat."""
    features = features_like(30, SHAPE, seed)
    rows = rows_of(features)
    singular = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    least = float((singular[k:] ** 2).sum() / rows.size)
    found = error(fitted("pca", features, k), features)
    assert found == pytest.approx(least, rel=1e-3, abs=1e-9)
    other = codec_of("pca", 16, 6, k)
    assert isinstance(other, LinearCodec)
    other.offset.copy_(torch.from_numpy(rows.mean(axis=0)))
    drawn = np.linalg.qr(np.random.default_rng(seed).normal(size=(16, k)))[0]
    other.synthesis.copy_(torch.from_numpy(drawn)[:, :, None, None])
    assert error(other, features) >= found - 1e-9


@pytest.mark.parametrize("method", ["pca", "random"])
def test_all_channels_give_the_features_themselves(method: str) -> None:
    features = features_like(30, SHAPE)
    codec = fitted(method, features, 16)
    torch.testing.assert_close(codec.recovered(codec.sent(features)), features, rtol=1e-3, atol=1e-3)


def test_random_channels_arrive_and_the_others_are_guessed_as_well_as_lines_can() -> None:
    features = features_like(40, SHAPE)
    codec = fitted("random", features, 5)
    assert isinstance(codec, RandomChannels)
    recovered = codec.recovered(codec.sent(features))
    torch.testing.assert_close(recovered[:, codec.kept], features[:, codec.kept], rtol=1e-3, atol=1e-3)
    rows = rows_of(features)
    known = np.hstack([rows[:, codec.kept.numpy()], np.ones((len(rows), 1))])
    guessed = known @ np.linalg.lstsq(known, rows, rcond=None)[0]
    assert error(codec, features) == pytest.approx(((guessed - rows) ** 2).mean(), rel=1e-3)


def test_components_beat_random_channels_and_more_of_either_beats_fewer() -> None:
    features = features_like(60, SHAPE)
    errors = {method: [error(fitted(method, features, k), features) for k in (2, 4, 8)] for method in ("pca", "random")}
    for best, drawn in zip(errors["pca"], errors["random"], strict=True):
        assert best < drawn
    assert errors["pca"] == sorted(errors["pca"], reverse=True)


def test_channels_that_never_change_are_guessed_by_their_mean() -> None:
    features = features_like(30, SHAPE)
    features[:, 3:9] = 0.7
    for method in ("pca", "random"):
        recovered = (codec := fitted(method, features, 8)).recovered(codec.sent(features))
        assert recovered.isfinite().all()
        torch.testing.assert_close(recovered[:, 3:9], features[:, 3:9], rtol=1e-3, atol=1e-3)


def test_random_channels_are_drawn_by_the_seed_and_kept_in_the_checkpoint() -> None:
    def drawn(seed: int) -> RandomChannels:
        codec = codec_of("random", 64, 4, 1)
        torch.manual_seed(seed)
        return type(codec)(codec.point, Shape(64, 4))  # type: ignore[return-value]

    def kept(codec: RandomChannels) -> list[int]:
        return codec.kept.tolist()

    assert kept(drawn(1)) == kept(drawn(1))
    assert len({tuple(kept(drawn(seed))) for seed in range(20)}) > 10
    other = drawn(2)
    other.load_state_dict(drawn(1).state_dict())
    assert kept(other) == kept(drawn(1))


def test_the_same_features_give_the_same_components() -> None:
    features = features_like(30, SHAPE)
    one, other = fitted("pca", features, 6), fitted("pca", features.flip(0), 6)
    torch.testing.assert_close(one.synthesis, other.synthesis, rtol=1e-3, atol=1e-4)


def test_nothing_is_left_for_gradients() -> None:
    for method in ("pca", "random"):
        assert not list(codec_of(method, 16, 6, 4).parameters())


def test_more_bits_bring_components_back_closer() -> None:
    features = features_like(64, SHAPE)
    errors = []
    for bits in range(8, 1, -1):
        codec = calibrated(codec_of("pca", 16, 6, 16, bits), features)
        errors.append(float((codec.features(codec.symbols(features)) - features).square().mean() / features.var()))
    assert errors == sorted(errors)
    assert errors[0] < 3e-3 and errors[-1] > 0.1
