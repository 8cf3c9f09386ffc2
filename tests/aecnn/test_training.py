import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from testbed.aecnn.checkpoint import load_checkpoint
from testbed.aecnn.inference import SplitModel
from testbed.aecnn.photographs import CaltechPhotographs, open_photographs
from testbed.aecnn.resnet import ResNet50
from testbed.aecnn.training.config import Config, ConfigError, load_config
from testbed.aecnn.training.run import TrainingRun

COLOURS = {"blue": (40, 60, 200), "green": (40, 200, 60), "red": (200, 60, 40)}
WIDTH = 0.125

CONFIG = """
seed: 1
width: 0.125
copies: 2
frozen: [layer1.0, layer1.1, layer1.2, layer2.0, layer2.1]
backbone:
  - {epochs: 4, rate: 1.e-3, fresh_rate: 1.e-2, batch: 8}
  - {epochs: 1, rate: 1.e-3, batch: 8, mixup: 0.4}
average: [0.5, 0.5]
prior: 0.5
attention: {fit: {epochs: 1, rate: 5.e-3, batch: 8}, sparsity: 0.3}
splits:
  layer3:
    points: [{kept_channels: 16, bits: 4}, {kept_channels: 4, bits: 2}]
    head: [layer3.4, layer3.5]
    tail: [layer4.0]
    recover: {epochs: 1, rate: 2.e-3, batch: 8}
    tune: {epochs: 1, rate: 1.e-3, batch: 8}
    tail_rate: 3.e-4
  layer2:
    points: [{kept_channels: 8, bits: 8}]
    head: [layer2.2, layer2.3]
    tail: [layer3.0]
    recover: {epochs: 1, rate: 2.e-3, batch: 8}
    tune: {epochs: 1, rate: 1.e-3, batch: 8}
    tail_rate: 3.e-4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty photographs of noise in each of three colours."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        place = tmp_path / "photographs" / "101_ObjectCategories" / name
        place.mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(np.array(colour) + rng.normal(0, 40, (150, 170, 3)), 0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG")
            (place / f"image_{number:04d}.jpg").write_bytes(buffer.getvalue())
    return tmp_path / "photographs"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return load_config(path)


def run(folder: Path, config: Config, output: Path, seen: list[str], *, until: str = "") -> Path:
    def progress(stage: str, done: float, note: str, **figures: float) -> None:
        if until and stage == until:
            raise KeyboardInterrupt
        if stage not in seen:
            seen.append(stage)

    torch.manual_seed(0)
    photographs = CaltechPhotographs(folder)
    network = ResNet50(len(photographs.classes), WIDTH, original=True)
    return TrainingRun(config, photographs, network, output, progress).train()


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(folder: Path, config: Config, tmp_path: Path) -> None:
    whole = run(folder, config, tmp_path / "whole", [])
    first: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(folder, config, tmp_path / "killed", first, until="tune after layer3")
    assert "recovery after layer3" in first
    second: list[str] = []
    resumed = run(folder, config, tmp_path / "killed", second)
    assert "tune after layer3" in second
    assert not {
        "train",
        "backbone, part 1",
        "backbone, part 2",
        "attention after layer3",
        "recovery after layer3",
    } & set(second)
    assert resumed.read_bytes() == whole.read_bytes()
    assert run(folder, config, tmp_path / "whole", []).read_bytes() == resumed.read_bytes()  # nothing left to do


def test_what_training_leaves_can_be_used(folder: Path, config: Config, tmp_path: Path) -> None:
    path = run(folder, config, tmp_path / "out", [])
    model = SplitModel(load_checkpoint(path))
    sample = open_photographs(path.with_name("sample.zip"), model.classes)
    assert model.classes == tuple(sorted(COLOURS))
    assert [str(option.point) for option in model.options[3:]] == ["layer3/k16/b4", "layer3/k4/b2", "layer2/k8/b8"]
    prepared = list(model.prepare(sample, range(len(sample)), lambda share: None))
    assert len(prepared) == len(sample) * len(model.options)
    local = [sample.label(one.image) == one.predicted for one in prepared if one.option == model.options[0]]
    assert np.mean(local) > 0.6  # a third by chance


def test_sample_holds_only_photographs_that_training_never_saw(folder: Path, config: Config, tmp_path: Path) -> None:
    path = run(folder, config, tmp_path / "out", [])
    division = msgspec.json.decode(path.with_name("division.json").read_bytes())
    sample = open_photographs(path.with_name("sample.zip"))
    names = {sample.name(index) for index in range(len(sample))}
    assert len(names) == 9
    assert not names & {*division["train"], *division["validation"]}


def test_another_configuration_is_refused_in_the_same_folder(folder: Path, config: Config, tmp_path: Path) -> None:
    run(folder, config, tmp_path / "out", [])
    with pytest.raises(ConfigError, match="another configuration"):
        run(folder, msgspec.structs.replace(config, seed=2), tmp_path / "out", [])


@pytest.mark.parametrize(
    ("text", "named"),
    [("seed: 1", "width"), (CONFIG + "extra: 1\n", "extra"), (CONFIG.replace("bits: 8", "bits: eight"), "bits")],
)
def test_a_faulty_configuration_is_named(text: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_config(path)


def test_the_shipped_configuration_can_be_read() -> None:
    shipped = Path(load_config.__code__.co_filename).parents[1] / "configs" / "default.yaml"
    assert set(load_config(shipped).splits) == {"layer2", "layer3"}
