"""The policies `grl` and `droo` in the place that they have in a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from testbed.aecnn.checkpoint import checkpoint_path, profile_path
from testbed.jobs.profile import Profile
from testbed.offloading.errors import PolicyError
from testbed.offloading.slot_policy import make_slot_policy
from testbed.offloading.slots import SlotObservation
from testbed.offloading.trained import DATA, shipped
from tests.offloading.test_observed import device

DROO_SIZES = [tuple(map(int, path.stem.removeprefix("droo-").split("x"))) for path in DATA.glob("droo-*.safetensors")]


@pytest.fixture(scope="module")
def profile() -> Profile:
    return msgspec.json.decode(profile_path(checkpoint_path("default")).read_bytes(), type=Profile)


def slot(profile: Profile, devices: int, edges: int = 2) -> SlotObservation:
    names = ("edge1", "edge2")[:edges]
    views = {f"dev{number}": device(1e6 * (1 + number % 7), edges=names) for number in range(devices)}
    return SlotObservation(now_s=1.0, slot_s=0.1, devices=views, profile=profile)


@pytest.mark.parametrize(("devices", "edges"), [(1, 1), (6, 2), (17, 2)])
def test_grl_decides_for_any_number(profile: Profile, devices: int, edges: int) -> None:
    policy = make_slot_policy("grl", {}, seed=1)  # which checks what it decides
    decided = policy.decide_slot(slot(profile, devices, edges))
    assert len(decided) == devices
    assert policy.decide_slot(slot(profile, devices, edges)).keys() == decided.keys()


def test_grl_decides_with_what_it_is_told_to_consider(profile: Profile) -> None:
    policy = make_slot_policy("grl", {"encodings": ["jpeg"]}, seed=1)
    decided = policy.decide_slot(slot(profile, 6))
    assert {one.decision.option.encoding for one in decided.values()} <= {"", "jpeg"}


@pytest.mark.parametrize(("devices", "edges"), DROO_SIZES)
def test_droo_decides_for_the_sizes_that_are_shipped(profile: Profile, devices: int, edges: int) -> None:
    assert len(make_slot_policy("droo", {}, seed=1).decide_slot(slot(profile, devices, edges))) == devices


def test_droo_refuses_another_size_and_another_menu(profile: Profile) -> None:
    with pytest.raises(PolicyError, match="7x2: train one"):
        make_slot_policy("droo", {}, seed=1).decide_slot(slot(profile, 7))
    with pytest.raises(PolicyError, match="droo reads"):
        make_slot_policy("droo", {"encodings": ["jpeg"]}, seed=1).decide_slot(slot(profile, 6))


def test_a_file_of_ones_own_is_named(profile: Profile, tmp_path: Path) -> None:
    grl = str(shipped("grl", 6, 2))
    assert make_slot_policy("grl", {"policy": grl}, seed=1).decide_slot(slot(profile, 3)).keys() == {
        "dev0",
        "dev1",
        "dev2",
    }
    with pytest.raises(PolicyError, match="of the kind grl, not droo"):
        make_slot_policy("droo", {"policy": grl}, seed=1)
    with pytest.raises(PolicyError, match="cannot be read"):
        make_slot_policy("grl", {"policy": str(tmp_path / "absent")}, seed=1)
    with pytest.raises(PolicyError, match="policy 'grl': cannot be made with"):
        make_slot_policy("grl", {"polic": "x"}, seed=1)


def test_what_is_shipped_is_small() -> None:
    assert all(path.stat().st_size < 1_200_000 for path in DATA.glob("*.safetensors"))


def test_deciding_imports_no_torch() -> None:
    code = """
import sys
import msgspec
from pathlib import Path
from testbed.jobs.observation import EdgeView, PathView
from testbed.jobs.profile import Profile
from testbed.offloading.slot_policy import make_slot_policy
from testbed.offloading.slots import DeviceView, SlotObservation
profile = msgspec.json.decode(Path("testbed/aecnn/data/default.profile.json").read_bytes(), type=Profile)
edge = EdgeView(PathView(1e6, 0.005, 0.0), PathView(1e7, 0.005, 0.0), 0.0, 1e11)
slot = SlotObservation(0.0, 0.1, {"dev1": DeviceView(0.1, 0.0, 5e9, {"edge1": edge})}, profile)
make_slot_policy("grl", {}, 1).decide_slot(slot)
assert "torch" not in sys.modules
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=root)
