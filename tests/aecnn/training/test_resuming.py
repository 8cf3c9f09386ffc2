import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from testbed.aecnn.training.keeping import Keep, Stages
from tests.aecnn.training import killed


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a training that was not killed left its weights."""
    output = tmp_path_factory.mktemp("whole")
    seen = killed.train(folder, output)
    assert seen["validation, backbone"] > 0.6  # a third by chance
    return output


def weights(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(output.glob("*.safetensors"))}


def test_one_seed_gives_the_same_weights_and_another_gives_others(folder: Path, whole: Path, tmp_path: Path) -> None:
    killed.train(folder, tmp_path / "again")
    killed.train(folder, tmp_path / "other", seed=2)
    assert weights(tmp_path / "again") == weights(whole)
    assert set(weights(whole)) == {"backbone.safetensors", "exits.safetensors"}
    assert all(weights(tmp_path / "other")[name] != data for name, data in weights(whole).items())


def test_a_training_killed_again_and_again_ends_as_one_that_was_not(folder: Path, whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "killed"
    for stage, share in [("train", 0.5), ("backbone", 0.0), ("backbone", 0.6), ("exits", 0.5)]:
        arguments = [sys.executable, "-m", killed.__name__, str(folder), str(output), stage, str(share)]
        assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    seen = killed.train(folder, output)
    assert weights(output) == weights(whole)
    assert "backbone" not in seen and "train" not in seen  # they were finished before the last kill
    assert not list(output.glob("*.under-way"))


def test_a_stage_is_kept_no_oftener_than_asked(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(module.parameters())

    def train(keep: Keep) -> None:
        keep.offer(optimiser, 1, 0.5)

    Stages(tmp_path, every_s=3600.0).run("seldom", module, train)
    keep = Keep(tmp_path / "often.under-way", module, every_s=0.0)
    keep.offer(optimiser, 3, 0.25)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".under-way"] == ["often.under-way"]
    assert keep.restore(optimiser) == (3, 0.25)
    assert Keep(tmp_path / "never.under-way", module, every_s=0.0).restore(optimiser) == (0, 0.0)
