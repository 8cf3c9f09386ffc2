"""What training computes on."""

from __future__ import annotations

import torch


def training_device() -> torch.device:
    """A GPU if torch finds one, else the CPU. Only the latter gives the same weights twice."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
