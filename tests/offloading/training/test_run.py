from pathlib import Path

import msgspec
import numpy as np
import pytest

from testbed.jobs.profile import Profile
from testbed.offloading.actors import load_actor
from testbed.offloading.errors import PolicyError
from testbed.offloading.grl import Switches
from testbed.offloading.learner import decide
from testbed.offloading.mec import Mec
from testbed.offloading.scenario import Slots
from testbed.offloading.slot_baselines import LocalChooser, RandomChooser
from testbed.offloading.training.config import PolicyConfig
from testbed.offloading.training.run import Curve, PolicyTraining, learning_curve


def silent(stage: str, done: float, note: str, **figures: float) -> None:
    pass


def trained(config: PolicyConfig, profile: Profile, folder: Path, progress=silent) -> tuple[Curve, dict]:
    path = PolicyTraining(config, profile, folder, progress).train()
    curve = msgspec.json.decode((folder / "curve.json").read_bytes(), type=Curve)
    return curve, load_actor(path)[0].weights


@pytest.mark.parametrize("learner", ["grl", "droo"])
def test_the_same_seed_gives_the_same_curve_and_weights(
    config: PolicyConfig, profile: Profile, tmp_path: Path, learner: str
) -> None:
    config = msgspec.structs.replace(config, learner=learner)
    curve, weights = trained(config, profile, tmp_path / "one")
    again, same = trained(config, profile, tmp_path / "two")
    assert curve == again and len(curve.rewards) == config.slots and len(curve.losses) == config.slots // 4
    assert all((weights[name] == same[name]).all() for name in weights)
    other, _ = trained(msgspec.structs.replace(config, seed=2), profile, tmp_path / "three")
    assert other != curve


class KilledError(Exception):
    pass


@pytest.mark.parametrize("after", [20, 40])
def test_a_killed_training_goes_on_exactly(config: PolicyConfig, profile: Profile, tmp_path: Path, after: int) -> None:
    whole, weights = trained(config, profile, tmp_path / "whole")

    def kill(stage: str, done: float, note: str, step: float = 0, **figures: float) -> None:
        if step == after:
            raise KilledError

    folder = tmp_path / "killed"
    with pytest.raises(KilledError):
        trained(msgspec.structs.replace(config, save_every=15), profile, folder, kill)
    heard = []
    resumed, same = trained(
        msgspec.structs.replace(config, save_every=15),
        profile,
        folder,
        lambda *said, **figures: heard.append(figures["step"]),
    )
    assert heard[0] > after - 15
    assert resumed == whole
    assert all((weights[name] == same[name]).all() for name in weights)


def test_a_folder_of_another_training_is_refused(config: PolicyConfig, profile: Profile, tmp_path: Path) -> None:
    trained(config, profile, tmp_path)
    with pytest.raises(PolicyError, match="another configuration or profile; give another folder"):
        PolicyTraining(msgspec.structs.replace(config, seed=9), profile, tmp_path, silent)
    with pytest.raises(PolicyError, match="no webp"):
        PolicyTraining(msgspec.structs.replace(config, encodings=("webp",)), profile, tmp_path / "new", silent)
    assert not (tmp_path / "new").exists()


def test_sizes_are_learnt_from_in_turn_and_said_of_the_policy(
    config: PolicyConfig, profile: Profile, tmp_path: Path
) -> None:
    config = msgspec.structs.replace(config, variations=({}, {"devices": 5, "edges": 2}), encodings=("jpeg",))
    training = PolicyTraining(config, profile, tmp_path, silent)
    path = training.train()
    assert {len(graph.devices) for graph, _ in training.learner._memory} == {3, 5}
    _, description = load_actor(path)
    assert description.about["options"] == ["local", "full jpeg"]
    assert description.about["profile"] == profile.checkpoint
    assert msgspec.convert(description.about["config"], PolicyConfig) == config


def test_what_was_learnt_beats_chance_and_local(config: PolicyConfig, profile: Profile, tmp_path: Path) -> None:
    config = msgspec.structs.replace(config, slots=300)
    curve, _ = trained(config, profile, tmp_path)
    points = learning_curve(curve)
    assert [slots for slots, _ in points] == [100, 200, 300] and points[-1][1] > points[0][1]
    actor, _ = load_actor(tmp_path / "policy.safetensors")
    model = Mec(config.scenario, profile)
    problems = [model.problem(Slots(config.scenario, 99)[number]) for number in range(60)]
    search = Switches(0)
    random, local = RandomChooser(0), LocalChooser()

    def mean(choose):
        return np.mean([problem.scored(choose(problem)).reward.mean() for problem in problems])

    grl = mean(lambda problem: decide(actor, search, problem).choice)
    assert grl > mean(random.choose) + 0.1
    assert grl > mean(local.choose)
