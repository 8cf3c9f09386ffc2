"""Whole training runs on noise: what they leave, how they go on after a kill, what they refuse."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from testbed.aecnn.checkpoint import load_checkpoint
from testbed.aecnn.inference import SplitModel
from testbed.aecnn.outcomes import Study
from testbed.aecnn.photographs import CaltechPhotographs, open_photographs
from testbed.aecnn.resnet import ResNet50
from testbed.aecnn.training.config import Config, ConfigError, load_config
from testbed.aecnn.training.run import TrainingRun
from testbed.jobs.decision import JPEG, LOCAL, RAW
from tests.aecnn.training.conftest import COLOURS

WIDTH = 0.125
SHIPPED = Path("testbed/aecnn/configs/default.yaml")
CONFIG = """
seed: 1
width: 0.125
backbone: {copies: 2, fit: {epochs: 4, rate: 1.e-3, batch: 8}, fresh_rate: 1.e-2}
exits: {after: [layer3], fit: {epochs: 1, rate: 1.e-3, batch: 8}}
recompressed: [jpeg-20, webp-5]
tune_recompressed: {epochs: 1, rate: 1.e-3, batch: 8}
compressions:
  - &aecnn
    split: layer3
    points: [{kept_channels: 16, bits: 4}, {kept_channels: 4, bits: 2}]
    head: [layer3.4, layer3.5]
    tail: [layer4.0]
    attention: {fit: {epochs: 1, rate: 5.e-3, batch: 8}, sparsity: 0.3}
    recover: {epochs: 1, rate: 2.e-3, batch: 8}
    tune: {epochs: 2, rate: 1.e-3, batch: 8}
    byte_price: 1.e-3
    curve: true
  - {<<: *aecnn, method: bottlenet++, attention: null, byte_price: 0, curve: false}
  - {<<: *aecnn, variant: "ranking: random", ranking: random, head: [], attention: null, recovery: false, recover: null}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(CONFIG)
    return load_config(path)


def run(folder: Path, config: Config, output: Path, *, until: str = "") -> list[str]:
    """The stages that were gone through. The checkpoint is in `output`."""
    seen: list[str] = []

    def progress(stage: str, done: float, note: str, **figures: float) -> None:
        if until and stage == until:
            raise KeyboardInterrupt
        if stage not in seen:
            seen.append(stage)

    torch.set_num_threads(1)
    torch.manual_seed(0)
    photographs = CaltechPhotographs(folder)
    network = ResNet50(len(photographs.classes), WIDTH, original=True)
    TrainingRun(config, photographs, network, output, progress).train()
    return seen


@pytest.fixture(scope="module")
def output(folder: Path, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run left that was not interrupted."""
    place = tmp_path_factory.mktemp("run")
    run(folder, config, place)
    return place


def test_an_interrupted_run_goes_on_and_ends_as_one_that_was_not(
    folder: Path, config: Config, output: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(folder, config, tmp_path, until="aecnn.layer3: tune")
    seen = run(folder, config, tmp_path)
    assert "aecnn.layer3: tune" in seen
    assert not {"train", "backbone", "exits", "aecnn.layer3: attention", "aecnn.layer3: recovery"} & set(seen)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == (output / "checkpoint.safetensors").read_bytes()
    assert (tmp_path / "study.json").read_bytes() == (output / "study.json").read_bytes()
    assert not [stage for stage in run(folder, config, tmp_path) if "validation" not in stage]  # nothing left to do


def test_the_checkpoint_holds_every_method_that_is_no_ablation(output: Path) -> None:
    model = SplitModel(load_checkpoint(output / "checkpoint.safetensors"))
    assert model.classes == tuple(sorted(COLOURS))
    assert list(map(str, model.options)) == [
        "local",
        "full raw",
        "full jpeg",
        "split aecnn layer3/k16/b4",
        "split aecnn layer3/k4/b2",
        "split bottlenet++ layer3/k16/b4",
        "split bottlenet++ layer3/k4/b2",
        "local exit-layer3",
        "full jpeg-20",
        "full webp-5",
    ]
    assert {option for option in model.options if option not in model.comparisons} == {
        LOCAL,
        RAW,
        JPEG,
        *(option for option in model.options if option.encoding == "aecnn"),
    }


def test_the_study_says_what_the_checkpoint_does(output: Path) -> None:
    study = Study.load(output / "study.json")
    model = SplitModel(load_checkpoint(output / "checkpoint.safetensors"), "torch")
    assert study.checkpoint == model.sha256
    sample = open_photographs(output / "sample.zip", model.classes)
    assert [sample.name(index) for index in range(len(sample))] == list(study.photographs)
    prepared = list(model.prepare(sample, range(len(sample)), lambda share: None))
    found = {one.option: one for one in study.outcomes if not one.variant}
    assert set(found) == set(model.options)
    for option in model.options:
        mine = [one for one in prepared if one.option == option]
        assert [one.predicted == label for one, label in zip(mine, study.labels, strict=True)] == list(
            found[option].right()
        )
        if option.encoding in ("aecnn", "bottlenet++"):
            # on their way through a file weights are rounded, the same each time
            assert [len(one.payload) for one in mine] == list(found[option].payload_bytes)
    assert np.mean(found[LOCAL].right()) > 0.6  # a third by chance
    for option, one in found.items():
        assert (one.head_flops is None) == (one.encoder_flops is None) == (option.point is None)
        assert (one.head_flops or 1) > (one.encoder_flops or 0) >= 0
    variants = {(one.variant, str(one.option)) for one in study.outcomes if one.variant}
    assert {"tuned", "ranking: random"} == {variant for variant, _ in variants}
    assert ("tuned", "full webp-5") in variants and ("tuned", "full jpeg") not in variants


def test_the_study_has_curves_over_all_passes_and_rankings(output: Path) -> None:
    study = Study.load(output / "study.json")
    (curve, random) = study.curves
    assert curve.name == "aecnn.layer3" and curve.passes == (1, 2, 3, 4)  # attention, recovery, twice tuning
    assert all(0 <= accuracy <= 1 for accuracy in curve.accuracy)
    assert random.name == "aecnn.layer3.ranking-random" and random.passes == (1, 2)
    by = {ranking.by: ranking for ranking in study.rankings}
    assert set(by) == {"attention", "random"}
    assert len(by["attention"].importances) == 128 and len(by["attention"].of_classes) == 3


def test_the_sample_holds_only_photographs_that_training_never_saw(output: Path) -> None:
    division = msgspec.json.decode((output / "division.json").read_bytes())
    sample = open_photographs(output / "sample.zip")
    names = {sample.name(index) for index in range(len(sample))}
    assert len(names) == 9
    assert not names & {*division["train"], *division["validation"]}


def test_another_configuration_is_refused_in_the_same_folder(folder: Path, config: Config, output: Path) -> None:
    with pytest.raises(ConfigError, match="another configuration"):
        run(folder, msgspec.structs.replace(config, seed=2), output)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed: 1", "width"),
        (CONFIG + "extra: 1\n", "extra"),
        (CONFIG.replace("bits: 2", "bits: two"), "bits"),
        (CONFIG.replace("ranking: random,", "ranking: rank,"), "ranking"),
    ],
)
def test_a_faulty_configuration_is_named(text: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_config(path)


def test_the_shipped_configuration_trains_all_methods_for_as_many_passes() -> None:
    config = load_config(SHIPPED)
    assert len({each.name for each in config.compressions}) == len(config.compressions)

    def passes(variant: bool) -> set[float]:
        trained = [each for each in config.compressions if bool(each.variant) == variant and each.tune]
        return {
            sum(stage.epochs for stage in (each.tune, each.recover, each.attention and each.attention.fit) if stage)
            for each in trained
        }

    assert len(passes(variant=False)) == len(passes(variant=True)) == 1
    equal = {len(each.points) for each in config.compressions if not each.variant and each.split != "layer2"}
    assert len(equal) == 1
