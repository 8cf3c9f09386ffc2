import numpy as np
import pytest
import torch

from testbed.aecnn.training.mixing import mirror, mix


def test_as_many_photographs_are_mirrored_as_not() -> None:
    pixels = torch.arange(16, dtype=torch.uint8).repeat(200, 3, 4, 1)
    mirrored = mirror(pixels, np.random.default_rng(0))
    turned = (mirrored == pixels.flip(3)).all((1, 2, 3))
    assert torch.equal(mirrored[~turned], pixels[~turned])
    assert 70 < int(turned.sum()) < 130


@pytest.mark.parametrize("seed", range(12))
def test_labels_have_the_shares_that_the_pixels_have(seed: int) -> None:
    labels = torch.arange(6)
    pixels = (20 * labels).to(torch.uint8).view(6, 1, 1, 1).repeat(1, 3, 10, 12)  # a class's grey is 20 times its label
    mixed, others, share = mix(pixels, labels, np.random.default_rng(seed))
    assert 0 <= share <= 1
    expected = 20 * (share * labels + (1 - share) * others)
    torch.testing.assert_close(mixed.float().mean((1, 2, 3)), expected, rtol=1e-4, atol=1e-3)
    assert sorted(others.tolist()) == labels.tolist()
    assert torch.equal(pixels[:, 0, 0, 0], (20 * labels).to(torch.uint8))  # what is cached is not touched


def test_photographs_are_blended_as_often_as_cut() -> None:
    pixels = torch.tensor([0, 200], dtype=torch.uint8).view(2, 1, 1, 1).repeat(1, 3, 16, 16)
    drawn = [mix(pixels, torch.arange(2), np.random.default_rng(seed))[0] for seed in range(200)]
    assert 70 < sum(one.is_floating_point() for one in drawn) < 130
