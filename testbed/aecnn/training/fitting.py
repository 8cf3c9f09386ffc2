"""One stage's fitting: AdamW, one-cycle rate, clipped gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from testbed.aecnn.training.cache import Progress
from testbed.aecnn.training.config import Fit

Batch = tuple[Tensor, Tensor, Tensor]


def fit(
    name: str,
    settings: Fit,
    rated: Iterable[tuple[Iterable[nn.Parameter], float]],
    batches: Iterable[Batch],
    steps: int,
    loss_of: Callable[[Batch], Tensor],
    progress: Progress,
) -> None:
    """Lower `loss_of` over the batches, changing the parameters in place, each group at the rate beside it."""
    groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": rate} for parameters, rate in rated]
    optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [group["lr"] for group in groups], total_steps=steps, pct_start=settings.warm_up
    )
    parameters = [parameter for group in groups for parameter in group["params"]]
    mean = 0.0
    for step, batch in enumerate(batches):
        loss = loss_of(batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimiser.step()
        schedule.step()
        value = float(loss.detach())
        mean = value if step == 0 else 0.98 * mean + 0.02 * value
        progress(name, (step + 1) / steps, f"loss {mean:.3f}")
