import pytest
import torch

from testbed.aecnn.rivals.entropic_student import DivisiveNormalisation
from tests.aecnn.rivals.made import codec_of, features_like


@pytest.mark.parametrize(("px", "side"), [(32, 8), (16, 4), (56, 14), (14, 4), (7, 2), (5, 2), (1, 1)])
def test_a_quarter_of_each_side_is_sent_and_all_of_it_comes_back(px: int, side: int) -> None:
    codec = codec_of("entropic-student", 16, px, 4).eval()
    features = features_like(2, codec.shape)
    assert codec.side == side and codec.sent(features).shape == (2, 4, side, side)
    assert codec.features(codec.symbols(features)).shape == features.shape


def test_every_position_depends_on_what_was_sent() -> None:
    codec = codec_of("entropic-student", 16, 32, 4).eval()
    one, other = torch.zeros(1, 4, 8, 8), torch.ones(1, 4, 8, 8)
    changed = (codec.recovered(one) != codec.recovered(other)).any(dim=1)
    assert changed.all()


def test_the_normalisation_is_the_published_one() -> None:
    torch.manual_seed(0)
    norm = DivisiveNormalisation(3)
    with torch.no_grad():
        norm.weights.normal_()
        norm.base.normal_()
    x = torch.randn(2, 3, 4, 5)
    weights, base = norm.weights[:, :, 0, 0].square(), norm.base.square() + 1e-6
    for n, row, column in ((0, 0, 0), (1, 3, 4)):
        at = x[n, :, row, column]
        expected = at / (base + weights @ at.abs())
        torch.testing.assert_close(norm(x)[n, :, row, column], expected)


def test_the_inverse_multiplies_by_what_the_other_divides_by() -> None:
    torch.manual_seed(0)
    norm, inverse = DivisiveNormalisation(4), DivisiveNormalisation(4, inverse=True)
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(norm(x) * inverse(x), x.square())


def test_it_evens_out_how_strong_the_channels_are() -> None:
    norm = DivisiveNormalisation(4)
    weak, strong = norm(torch.ones(1, 4, 1, 1)), norm(torch.full((1, 4, 1, 1), 100.0))
    assert (strong / weak < 30).all() and (strong > weak).all()
