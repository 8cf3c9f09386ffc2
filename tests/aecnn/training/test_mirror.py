import numpy as np
import torch

from testbed.aecnn.training.augment import mirror


def test_as_many_photographs_are_mirrored_as_not() -> None:
    pixels = torch.arange(16, dtype=torch.uint8).repeat(200, 3, 4, 1)
    mirrored = mirror(pixels, np.random.default_rng(0))
    turned = (mirrored == pixels.flip(3)).all((1, 2, 3))
    assert torch.equal(mirrored[~turned], pixels[~turned])
    assert 70 < int(turned.sum()) < 130
