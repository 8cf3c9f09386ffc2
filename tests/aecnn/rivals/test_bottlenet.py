import pytest
import torch

from testbed.aecnn.rivals.bottlenet import AwgnBottleNet, BottleNet
from testbed.aecnn.rivals.channels import erased
from tests.aecnn.rivals.made import calibrated, codec_of, features_like


def bottleneck(method: str = "bottlenet++", k: int = 6) -> BottleNet:
    codec = codec_of(method, 32, 8, k)
    assert isinstance(codec, BottleNet)
    return codec


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_the_quantisers_range_is_the_sigmoids_whatever_it_sees(bits: int) -> None:
    codec = codec_of("bottlenet++", 32, 8, 3, bits)
    for values in (torch.full((4, 3, 8, 8), 0.5), torch.rand(4, 3, 8, 8) * 0.1):
        codec.quantiser.observe(values)
        assert codec.quantiser.low.tolist() == [0, 0, 0] and codec.quantiser.high.tolist() == [1, 1, 1]
    ends = codec.quantiser.values(codec.quantiser.symbols(torch.tensor([-1.0, 0.0, 1.0, 2.0]).expand(1, 3, 1, 4)))
    torch.testing.assert_close(ends[0, 0, 0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    values = codec.sent(features_like(2, codec.shape) * 100)
    assert values.min() >= 0 and values.max() <= 1


def test_training_erases_as_often_as_asked_on_average_and_from_never_to_twice_as_often() -> None:
    codec = bottleneck().train()
    codec.trained.fill_(0.1)
    lost = codec.disturbed(torch.ones(500, 6, 16, 16), torch.Generator().manual_seed(0)) == 0
    shares = lost.float().mean((1, 2, 3))
    assert abs(float(shares.mean()) - 0.1) < 0.002
    assert float(shares[:50].mean()) < 0.015 and 0.18 < float(shares[-50:].mean()) < 0.2


def test_by_default_one_symbol_in_a_hundred_is_lost() -> None:
    codec = bottleneck().train()
    lost = codec.disturbed(torch.ones(500, 6, 16, 16), torch.Generator().manual_seed(0)) == 0
    assert abs(float(lost.float().mean()) - 0.01) < 0.0005


@pytest.mark.parametrize("method", ["bottlenet++", "bottlenet++awgn"])
def test_nothing_is_disturbed_at_inference_but_in_a_condition_that_was_set(method: str) -> None:
    codec = bottleneck(method)
    features = features_like(16, codec.shape)
    calibrated(codec, features)
    values = codec.quantiser(codec.sent(features))
    assert torch.equal(codec.disturbed(values, torch.Generator()), values)
    codec.condition = 0.3
    received = codec.disturbed(values, torch.Generator().manual_seed(0))
    if method == "bottlenet++":
        assert abs(float((received == 0).float().mean()) - 0.3) < 0.03
    else:
        ratio = (received - values).square().mean((1, 2, 3)) / values.square().mean((1, 2, 3))
        assert abs(float(ratio.mean()) - 0.3) < 0.03


def test_noise_is_measured_against_each_photographs_own_power() -> None:
    codec = bottleneck("bottlenet++awgn").train()
    assert isinstance(codec, AwgnBottleNet)
    values = torch.rand(400, 6, 16, 16) * torch.linspace(0.1, 1, 400)[:, None, None, None]
    noise = codec.disturbed(values, torch.Generator().manual_seed(0)) - values
    ratio = noise.square().mean((1, 2, 3)) / values.square().mean((1, 2, 3))
    assert abs(float(ratio.mean()) - 0.1) < 0.002  # 10 dB
    assert abs(float(ratio[190:210].mean()) - 0.1) < 0.01
    assert float(ratio[:20].mean()) < 0.01 and float(ratio[-20:].mean()) > 0.18


@pytest.mark.parametrize("method", ["bottlenet++", "bottlenet++awgn"])
def test_the_encoder_is_told_the_condition(method: str) -> None:
    codec = bottleneck(method)
    features = features_like(16, codec.shape)
    calibrated(codec, features)
    clean = codec.sent(features)
    codec.condition = codec.usual
    assert (codec.sent(features) - clean).abs().mean() > 1e-3
    codec.condition = 0.0
    assert torch.equal(codec.sent(features), clean)


def test_training_without_losses_is_possible() -> None:
    codec = bottleneck().train()
    codec.trained.zero_()
    values = codec.sent(features_like(4, codec.shape))
    assert values.isfinite().all()
    assert torch.equal(codec.disturbed(values, torch.Generator()), values)


def test_where_losses_are_heavy_training_through_them_pays() -> None:
    """Against the same bottleneck trained on a channel that loses nothing; both are then used where a third is lost."""
    errors = {trained: error_under_losses(trained) for trained in (0.0, 0.3)}
    assert errors[0.3] < 0.8 * errors[0.0]


def error_under_losses(trained: float) -> float:
    codec = bottleneck(k=12)
    codec.trained.fill_(trained)
    features = features_like(192, codec.shape)
    codec.prepare(iter(features[:128].split(32)))
    optimiser = torch.optim.AdamW(codec.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    codec.train()
    for _ in range(150):
        batch = features[torch.randint(0, 128, (32,), generator=generator)]
        received = codec.disturbed(codec.quantiser(codec.sent(batch)), generator)
        loss = (codec.recovered(received) - batch).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    codec.eval().condition = trained  # one is told of the losses, the other knows of none
    with torch.no_grad():
        received = erased(codec.quantiser(codec.sent(features[128:])), torch.tensor(0.3), generator)
        return float((codec.recovered(received) - features[128:]).square().mean())
