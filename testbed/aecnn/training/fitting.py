"""One stage's fitting: AdamW, one-cycle rate, clipped gradients; step by step the same however often it is killed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from testbed.aecnn.training.config import Fit
from testbed.aecnn.training.draws import Draw, generator
from testbed.aecnn.training.keeping import Keep
from testbed.aecnn.training.progress import Progress

Batch = tuple[Tensor, Tensor, Tensor]
"""Inputs, labels, and `[n, 2]` of which cached copy of which photograph."""

FIRST_RATE = 0.04  # of the greatest


def fit(
    name: str,
    settings: Fit,
    rated: Iterable[tuple[Iterable[nn.Parameter], float]],
    batch_at: Callable[[int], Batch],
    steps: int,
    loss_of: Callable[[Batch, np.random.Generator], Tensor],
    progress: Progress,
    *,
    seed: Sequence[int],
    keep: Keep | None = None,
) -> None:
    """Lower `loss_of` over the batches, changing the parameters in place, each group at the rate beside it.

    `batch_at` gives a step's batch whatever was drawn before, and `loss_of` draws from the generator that it is given,
    which depends on `seed` and the step alone: with `keep`, a killed fit goes on and ends as one that was not.
    """
    groups: list[dict[str, Any]] = [{"params": list(parameters), "peak": rate} for parameters, rate in rated]
    optimiser = torch.optim.AdamW(groups, lr=0.0, weight_decay=settings.weight_decay)
    parameters = [parameter for group in groups for parameter in group["params"]]
    first, mean = keep.restore(optimiser) if keep is not None else (0, 0.0)
    for step in range(first, steps):
        share = one_cycle(step / steps, settings.warm_up)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * share
        loss = loss_of(batch_at(step), generator(seed, Draw.LOSS, step))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimiser.step()
        value = float(loss.detach())
        mean = value if step == 0 else 0.98 * mean + 0.02 * value
        if keep is not None:
            keep.offer(optimiser, step + 1, mean)
        progress(name, (step + 1) / steps, f"loss {mean:.3f}", step=step, loss=value, rate=settings.rate * share)


def one_cycle(done: float, warm_up: float) -> float:
    """Share of the greatest rate when a share `done` of the steps is: up along a cosine, down along another to 0.

    Smith and Topin 2019, as fast.ai and torch anneal it.
    """
    if done < warm_up:
        return FIRST_RATE + (1 - FIRST_RATE) * (1 - math.cos(math.pi * done / warm_up)) / 2
    return (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up))) / 2
