import numpy as np
import pytest
import torch

from testbed.aecnn.training.cache import Features
from testbed.aecnn.training.fitting import one_cycle

N, COPIES, BATCH = 23, 3, 5
SEED = (1, 2)


@pytest.fixture
def features() -> Features:
    """A number for every copy of every photograph."""
    array = np.arange(COPIES * N, dtype=np.float16).reshape(COPIES, N, 1, 1, 1)
    return Features(array, torch.arange(N))


def test_a_batch_is_what_its_step_and_the_seed_make_it(features: Features) -> None:
    values, labels, where = features.batch_at(7, BATCH, SEED)
    features.batch_at(3, BATCH, SEED)
    again = features.batch_at(7, BATCH, SEED)
    assert all(map(torch.equal, (values, labels, where), again))
    assert not torch.equal(features.batch_at(7, BATCH, (1, 3))[1], labels)
    assert torch.equal(values.flatten(), (where[:, 0] * N + where[:, 1]).float())
    assert torch.equal(labels, where[:, 1])


def test_every_pass_sees_each_photograph_once_in_an_order_of_its_own(features: Features) -> None:
    steps = features.steps(1, BATCH)
    assert (steps, features.steps(2.5, BATCH)) == (4, 10)
    passes = [[features.batch_at(step, BATCH, SEED)[1] for step in range(at, at + steps)] for at in (0, steps)]
    for seen in passes:
        assert len(torch.cat(seen).unique()) == steps * BATCH
    assert not torch.equal(torch.cat(passes[0]), torch.cat(passes[1]))


def test_pixels_stay_whole_numbers() -> None:
    pixels = Features(np.zeros((1, 4, 3, 2, 2), np.uint8), torch.zeros(4))
    assert {x.dtype for _, x in pixels.plain()} == {pixels.batch_at(0, 2, SEED)[0].dtype} == {torch.uint8}


def test_the_rate_goes_up_and_then_down_to_nothing() -> None:
    shares = [one_cycle(step / 100, 0.15) for step in range(101)]
    assert shares[15] == max(shares) == 1
    assert shares[:16] == sorted(shares[:16])
    assert shares[15:] == sorted(shares[15:], reverse=True)
    assert shares[100] == pytest.approx(0)
