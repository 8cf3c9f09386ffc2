"""`testbed machines prepare` over a lab, into an environment that finds what the testbed needs in the driver's."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.cluster.test_check import write

pytestmark = pytest.mark.root


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The Python of an environment without a testbed, which has all else, pip too, from the driver's."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    (Path(found) / "driver.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_a_machine_is_made_ready_and_then_left_as_it_is(lab, environment, tmp_path):
    path = write(lab, tmp_path / "lab.yaml", lab2={"python": str(environment)}, lab3={"python": "/no/env/python"})
    done = lab.driver.testbed("machines", "prepare", path, "--json", check=False)
    two, three = json.loads(done.stdout)["machines"]
    assert two == {
        "machine": "lab2",
        "ok": True,
        "done": ["installing the testbed and what it needs"],
        "error": None,
    }, done.stderr
    assert not three["ok"] and "which is no environment's" in three["error"]
    assert done.returncode == 1

    after = json.loads(lab.driver.testbed("machines", "check", path, "--json", check=False).stdout)["machines"][1]
    assert after["ok"], after
    again = lab.driver.testbed("machines", "prepare", write(lab, path, lab2={"python": str(environment)}))
    assert again.stdout == "lab2: has all that it needs\nlab3: has all that it needs\n"
    assert "wheel" not in again.stderr
    assert [machine.left() for machine in lab.machines] == [[], [], []]


def test_an_environment_of_another_python_or_of_a_checkout_is_not_touched(lab, tmp_path):
    def pretending(name: str, version: str, checkout: str | None) -> Path:
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        state = json.dumps([version, checkout])
        python.write_text(f"""#!/bin/sh\ncase "$*" in *direct_url*) echo '{state}';; *) exit 1;; esac\n""")
        python.chmod(0o755)
        return python

    old = pretending("old", "3.9.2", None)
    checkout = pretending("checkout", platform.python_version(), "file:///home/me/testbed")
    path = write(lab, tmp_path / "lab.yaml", lab2={"python": str(old)}, lab3={"python": str(checkout)})
    before = sorted(tmp_path.rglob("*"))
    done = lab.driver.testbed("machines", "prepare", path, check=False)
    assert done.returncode == 1
    two, three = done.stdout.splitlines()
    assert two.startswith(f"lab2: {old} is Python 3.9.2") and two.endswith(f"remove {tmp_path}/old there")
    assert three.startswith(f"lab3: {checkout} runs the testbed out of file:///home/me/testbed")
    assert "wheel" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
