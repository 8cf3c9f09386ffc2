"""A machine that cannot take part: `testbed up` says so in a line for each, with status 2, and starts nothing."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml

import testbed
from tests.cluster.lab import Lab, new_key

pytestmark = pytest.mark.root
LAB = Path(__file__).parents[2] / "topologies" / "lab.yaml"


def refused(lab: Lab, folder: Path, *options: str, **changes: dict[str, object]) -> dict[str, str]:
    """What `up` says of each machine that has something amiss."""
    document = yaml.safe_load(LAB.read_text())
    document["machines"] = {name: entry | changes.get(name, {}) for name, entry in lab.document().items()}
    path = folder / "refused.yaml"
    path.write_text(yaml.safe_dump(document))
    done = lab.driver.testbed("up", path, "--name", "refused", *options, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert [machine.left() for machine in lab.machines] == [[], [], []]
    assert "Traceback" not in done.stderr
    return {line.split(" ")[0]: line for line in done.stderr.splitlines()}


def test_machines_that_do_not_let_the_driver_in(lab, tmp_path):
    key = tmp_path / "key"
    new_key(key)
    known = tmp_path / "known_hosts"
    lines = lab.known_hosts.read_text().splitlines()
    known.write_text(f"{lines[0]}\n10.9.0.2 {lines[0].split(maxsplit=1)[1]}\n")
    told = refused(lab, tmp_path, lab2={"key_file": str(key)}, lab3={"user": "tester"})
    assert set(told) == {"lab2", "lab3"}
    assert "ssh-copy-id" in told["lab2"] and "sudo" in told["lab3"]
    told = refused(lab, tmp_path, lab2={"known_hosts": str(known)}, lab3={"known_hosts": str(known)})
    assert set(told) == {"lab2", "lab3"}
    assert "ssh-keygen" in told["lab2"] and "ssh-keyscan" in told["lab3"]


def test_a_machine_with_another_version(lab, tmp_path):
    code = tmp_path / "other"
    shutil.copytree(
        Path(testbed.__file__).parent, code / "testbed", ignore=shutil.ignore_patterns("data", "__pycache__")
    )
    python = code / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={code} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    told = refused(lab, tmp_path, lab2={"python": str(python)}, lab3={"python": "/no/such/python"})
    assert set(told) == {"lab2", "lab3"}
    assert all("testbed machines prepare" in line for line in told.values())


def test_a_machine_that_is_off(lab, tmp_path):
    lab.machines[2].off()
    try:
        document = yaml.safe_load(LAB.read_text())
        document["machines"] = lab.document()
        path = tmp_path / "off.yaml"
        path.write_text(yaml.safe_dump(document))
        done = lab.driver.testbed("up", path, "--name", "refused", check=False)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("lab3 (10.9.0.3): does not answer at port 22")
        assert [machine.left() for machine in lab.machines[:2]] == [[], []]
    finally:
        lab.machines[2].on()
