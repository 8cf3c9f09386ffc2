import numpy as np
import torch

from testbed.aecnn.codec import Shape
from testbed.aecnn.entropy_coder import EntropyCoder, frequencies_of
from testbed.aecnn.pruning import PrunedCodec
from testbed.aecnn.training.rate import expected_bytes, follow
from testbed.jobs.decision import OperatingPoint


def codec() -> PrunedCodec:
    made = PrunedCodec(OperatingPoint("layer3", 3, 3), Shape(8, 4))
    made.quantiser.low.fill_(-1.0)
    made.quantiser.high.fill_(1.0)
    counts = np.random.default_rng(1).integers(1, 1000, (3, 8))
    made.frequencies.copy_(torch.from_numpy(frequencies_of(counts)))
    return made


def test_values_that_are_symbols_cost_what_the_coders_tables_say() -> None:
    one = codec()
    symbols = torch.from_numpy(np.random.default_rng(2).integers(0, 8, (5, 3, 4, 4)))
    values = one.quantiser.values(symbols.float())
    coder = EntropyCoder(one.frequencies.numpy())
    bits = sum(coder.cross_entropy_bits(each.flatten(1).numpy().astype(np.int32)) for each in symbols)
    assert abs(float(expected_bytes(one, values)) - bits / 8 / 5) < 1e-3


def test_the_gradient_draws_a_value_towards_the_likelier_symbol() -> None:
    one = codec()
    one.frequencies.copy_(torch.from_numpy(frequencies_of(np.array([[1, 1, 1, 1000, 1, 1, 1, 1]] * 3))))
    values = one.quantiser.values(torch.full((1, 3, 4, 4), 4.5)).requires_grad_()
    expected_bytes(one, values).backward()
    assert values.grad is not None and bool((values.grad == 0).all())  # between two that are as unlikely
    values = one.quantiser.values(torch.full((1, 3, 4, 4), 3.4)).requires_grad_()
    expected_bytes(one, values).backward()
    assert values.grad is not None and bool((values.grad > 0).all())


def test_tables_follow_what_is_seen() -> None:
    one = codec()
    seen = torch.full((4, 3, 4, 4), 5.0)
    before = one.frequencies[:, 5].clone()
    for _ in range(60):
        follow(one, one.quantiser.values(seen))
    assert bool((one.frequencies[:, 5] > before).all()) and bool((one.frequencies >= 1).all())
    assert bool((one.frequencies[:, 5] > 0.99 * one.frequencies.sum(1)).all())
