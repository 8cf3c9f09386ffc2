"""`testbed machines`: what it refuses."""

from pathlib import Path

import pytest

STAR = Path(__file__).parents[2] / "topologies" / "star.yaml"


@pytest.mark.root
@pytest.mark.parametrize("verb", ["check", "prepare"])
def test_a_topology_without_machines_is_refused(command, verb: str) -> None:
    done = command("machines", verb, STAR, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "names no `machines`" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.root
def test_a_driver_that_is_none_of_the_machines_is_refused(command, tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(STAR.read_text().replace("machines: {}", "machines: {lab1: {address: 198.51.100.1}}"))
    done = command("machines", "check", path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "lab1 198.51.100.1" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_shaping_that_is_none_is_refused(command) -> None:
    done = command("machines", "check", STAR, "--shaping", "nothing", check=False)
    assert done.returncode == 2
    assert "auto, netem, relay" in done.stderr
