"""Trains a small backbone and its exits, keeping each step; as a program it kills itself: FOLDER OUTPUT STAGE SHARE."""

import os
import signal
import sys
from pathlib import Path

import torch

from testbed.aecnn.division import divide
from testbed.aecnn.photographs import CaltechPhotographs
from testbed.aecnn.resnet import ResNet50
from testbed.aecnn.training.backbone import BackboneTraining
from testbed.aecnn.training.config import Backbone, Config, Exits, Fit
from testbed.aecnn.training.exits import train_exits
from testbed.aecnn.training.keeping import Stages

PX = 64


def train(folder: Path, output: Path, seed: int = 1, *, until: str = "", share: float = 0.0) -> dict[str, float]:
    """The last share told of each stage. The weights are in `output`."""
    seen: dict[str, float] = {}

    def progress(stage: str, done: float, note: str, **figures: float) -> None:
        seen[stage] = figures.get("accuracy", done)
        if stage == until and done >= share:
            os.kill(os.getpid(), signal.SIGKILL)

    output.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    photographs = CaltechPhotographs(folder, px=PX)
    network = ResNet50(len(photographs.classes), 0.125, original=True)
    config = Config(
        seed=seed,
        width=0.125,
        input_px=PX,
        backbone=Backbone(2, Fit(epochs=3, rate=1e-3, batch=8), fresh_rate=1e-2, depth_decay=0.8),
        exits=Exits(["layer2", "layer3"], Fit(epochs=1, rate=1e-3, batch=8)),
        compressions=[],
    )
    stages = Stages(output, every_s=0.0)
    training = BackboneTraining(network, photographs, divide(photographs), config, output, stages, progress)
    training.train()
    train_exits(network, training.pixels("train"), config, stages, progress)
    return seen


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]), until=sys.argv[3], share=float(sys.argv[4]))
