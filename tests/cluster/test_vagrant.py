"""The Vagrantfile, and the topology of its machines."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from testbed.cluster.placement import placed
from testbed.documents.loading import load_topology
from testbed.documents.resolve import resolve

ROOT = Path(__file__).parents[2]
LAB, VAGRANT = (resolve(load_topology(ROOT / "topologies" / f"{name}.yaml")) for name in ("lab", "vagrant"))


@pytest.mark.skipif(shutil.which("vagrant") is None, reason="needs Vagrant: apt install vagrant")
def test_vagrant_accepts_it(tmp_path, monkeypatch):
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    monkeypatch.setenv("VAGRANT_HOME", str(tmp_path / "home"))
    command = ["vagrant", "validate", "--ignore-provider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert "validated successfully" in done.stdout
    assert not (tmp_path / ".vagrant" / "lab").exists()  # no key before there are machines


def test_its_machines_are_those_of_the_topology():
    text = (ROOT / "Vagrantfile").read_text()
    numbers = {name: int(number) for name, number in re.findall(r'"(lab\d)" => (\d+)', text)}
    networks = re.findall(r'"private_network", ip: "([\d.]+)\.#\{number\}"', text)
    assert [(machine.address, machine.tunnel_address) for machine in VAGRANT.machines] == [
        tuple(f"{network}.{numbers[machine.name]}" for network in networks) for machine in VAGRANT.machines
    ]
    assert set(numbers) == {machine.name for machine in VAGRANT.machines}


def test_both_labs_have_devices_on_two_machines_edges_on_two_and_links_between_machines():
    assert msgspec.structs.replace(VAGRANT, name="lab", machines=LAB.machines) == LAB
    on = placed(LAB)
    assert {on[device] for device in LAB.devices} == {"lab1", "lab2"}
    assert {on[edge] for edge in LAB.edges} == {"lab3", "lab2"}
    assert [(link.a, link.b) for link in LAB.links if on[link.a] != on[link.b]] == [("ap1", "ap2"), ("edge1", "ap1")]
