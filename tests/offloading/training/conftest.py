from __future__ import annotations

import pytest

from testbed.offloading.learner import Learning
from testbed.offloading.scenario import Scenario
from testbed.offloading.training.config import PolicyConfig

TINY = Scenario(devices=3, edges=1, stay_slots=5)


@pytest.fixture
def config() -> PolicyConfig:
    return PolicyConfig("grl", 60, scenario=TINY, learning=Learning(batch=8, every=4, memory=40), save_every=20)
