from pathlib import Path

import pytest

from testbed.offloading.errors import PolicyError
from testbed.offloading.training.config import load_policy_config

CONFIGS = Path("testbed/offloading/configs")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_files_are_read(path: Path) -> None:
    config = load_policy_config(path, seed=7)
    assert config.seed == 7
    assert config.learner == path.stem.partition("-")[0]
    assert len(config.scenarios) == max(1, len(config.variations))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learner: grl\nslots: 5\nslot: 5", "unknown field `slot`"),
        ("learner: ppo\nslots: 5", "`$.learner`"),
        ("learner: grl", "missing required field `slots`"),
        ("learner: grl\nslots: 0", "must be at least 1"),
        ("learner: grl\nslots: 5\nscenario: {device: 5}", "unknown field `device` - at `$.scenario`"),
        ("learner: grl\nslots: 5\nscenario: {devices: 0}", "at least one device"),
        ("learner: grl\nslots: 5\nvariations: [{}, {devices: many}]", "variations[1]: Expected `int`"),
        ("learner: grl\nslots: 5\nlearning: {rate: 1}", "unknown field `rate` - at `$.learning`"),
        ("learner: grl\nslots: 5\nlearning: {learning_rate: 0}", "learning_rate must be above 0"),
        ("learner: droo\nslots: 5\nvariations: [{}, {devices: 5}]", "droo has one size"),
        ("- learner", "Expected `object`"),
        ("learner: [", "while parsing"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError) as raised:
        load_policy_config(path)
    assert str(raised.value).startswith(f"{path}: ") and said in str(raised.value)
    assert "\n" not in str(raised.value)
