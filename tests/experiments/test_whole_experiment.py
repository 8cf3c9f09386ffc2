"""The experiment trained whole, on noise: two seeds of a tiny network."""

import io
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from testbed.aecnn.resnet import ResNet50
from testbed.experiments.compression.experiment import whole

CONFIG = """
seed: 9
width: 0.125
backbone: {copies: 1, fit: {epochs: 2, rate: 1.e-3, batch: 8}, fresh_rate: 1.e-2}
recompressed: [jpeg-20]
compressions:
  - &aecnn
    split: layer3
    points: [{kept_channels: 16, bits: 4}, {kept_channels: 4, bits: 2}]
    attention: {fit: {epochs: 1, rate: 5.e-3, batch: 8}, sparsity: 0.3}
    recover: {epochs: 1, rate: 2.e-3, batch: 8}
    tune: {epochs: 1, rate: 1.e-3, batch: 8}
  - {<<: *aecnn, variant: reference, curve: true}
  - {<<: *aecnn, variant: end to end, ranking: activation, attention: null, recover: null, curve: true,
     tune: {epochs: 3, rate: 1.e-3, batch: 8}}
  - {<<: *aecnn, variant: no recovery, recovery: false, recover: null}
  - {<<: *aecnn, method: bottlenet++, attention: null}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve photographs of noise in each of two colours."""
    rng = np.random.default_rng(0)
    for name, colour in (("green", (40, 200, 60)), ("red", (200, 60, 40))):
        place = tmp_path / "photographs" / name
        place.mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(np.array(colour) + rng.normal(0, 40, (90, 110, 3)), 0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG")
            (place / f"image_{number:04d}.jpg").write_bytes(buffer.getvalue())
    return tmp_path / "photographs"


def test_all_seeds_are_trained_once_and_reported(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    weights = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(ResNet50(1000, 0.125).state_dict(), weights)
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)

    def made() -> tuple[str, set[str]]:
        seen = set()
        done = whole(folder, weights, [1, 2], tmp_path / "out", lambda stage, share, note: seen.add(stage), config)
        assert done.agrees and done.path == tmp_path / "out" / "report.md"
        return done.path.read_text(), seen

    text, seen = made()
    assert {"seed 1, backbone", "seed 2, aecnn.layer3: tune", "profile"} <= seen
    ablated = {stage for stage in seen if "no-recovery" in stage}
    assert ablated and all(stage.startswith("seed 1, ") for stage in ablated)
    for word in ("Seeds 1, 2", "end to end", "BottleNet++, both after layer3", "fewer than 3 seeds", "aecnn layer3"):
        assert word in text
    again, seen = made()
    assert again == text
    assert not [stage for stage in seen if "validation" not in stage]  # nothing left to do
