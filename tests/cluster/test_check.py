"""Reports on lab machines: what is judged of what was seen, and `testbed machines check` over a lab."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

import testbed
from testbed.cluster.check import CHECKS, Clock, Finding, Seen, judged
from testbed.cluster.facts import Facts, Software
from testbed.cluster.ssh import FailedError, NoSudoError, UnreachableError
from testbed.documents.resolved import Machine
from testbed.network.diagnosis import Check, Diagnosis
from tests.cluster.lab import Lab

ROOT = Path(__file__).parents[2]
LAB = [Machine(f"lab{number}", f"10.9.0.{number}", tunnel_address=f"10.10.0.{number}") for number in (1, 2, 3)]
NETEM = Check("kernel", "netem", True, False, "works")
NO_NETEM = Check("kernel", "netem", False, False, "unknown qdisc", "modprobe sch_netem")


def facts(number: int, **changes: Any) -> Facts:
    plain = Facts(
        software=Software("0.1.0", "abc", "3.11.7", "x86_64", {"ray": "2.60.0", "torch": "2.13.0"}),
        kernel="6.1.0",
        cpus=4,
        memory_bytes=8 << 30,
        diagnosis=Diagnosis(True, "netem", [NETEM]),
        addresses=[f"10.10.0.{number}", f"10.9.0.{number}", "127.0.0.1"],
        free_blocks=[21000, 21200],
        free_bytes={"/run": 1 << 30, "/dev/shm": 1 << 30, "/tmp": 1 << 30},
    )
    return msgspec.structs.replace(plain, **changes)


def report(second: Facts | None = None, clock: Clock = Clock(0.002, 0.001), shaping: str = "auto") -> list[Finding]:  # noqa: B008
    """What is found on the second of three machines, the others being well."""
    seen = {"lab1": Seen(facts(1), Clock()), "lab2": Seen(second or facts(2), clock), "lab3": Seen(facts(3), Clock())}
    reports = judged(LAB, "lab1", seen, shaping)
    assert [each.machine for each in reports] == ["lab1", "lab2", "lab3"]
    assert reports[1].ok == all(finding.ok for finding in reports[1].findings)
    assert reports[0].ok and reports[2].ok
    assert [finding.check for finding in reports[1].findings] == list(CHECKS)
    return [finding for finding in reports[1].findings if not finding.ok]


def software(**changes: Any) -> Facts:
    return facts(2, software=msgspec.structs.replace(facts(2).software, **changes))


def test_machines_that_lack_nothing_are_ready():
    assert report() == []


@pytest.mark.parametrize(
    ("found", "detail", "remedy"),
    [
        (software(code="def"), "testbed 0.1.0 of files def (on lab1 0.1.0 of files abc)", "testbed machines prepare"),
        (software(packages={"ray": "2.59.0", "torch": "2.13.0"}), "ray 2.59.0 (on lab1 2.60.0)", "prepare"),
        (software(packages={"ray": "2.60.0"}), "torch missing (on lab1 2.13.0)", "prepare"),
        (software(python="3.11.2"), "Python 3.11.2 (on lab1 3.11.7)", "one of version 3.11.7"),
        (software(architecture="aarch64"), "architecture aarch64 (on lab1 x86_64)", "on x86_64"),
    ],
)
def test_other_software_than_the_drivers_is_a_fault(found, detail, remedy):
    (fault,) = report(found)
    assert fault.check == "versions"
    assert detail in fault.detail and remedy in (fault.remedy or "")


def test_a_kernel_that_would_shape_links_otherwise_than_the_others_is_a_fault():
    without = facts(2, diagnosis=Diagnosis(True, "relay", [NO_NETEM]))
    for shaping in ("auto", "netem"):
        (fault,) = report(without, shaping=shaping)
        assert fault.check == "kernel"
        assert "has no netem" in fault.detail and "unknown qdisc" in fault.detail
        assert "--shaping relay" in (fault.remedy or "")
    assert report(without, shaping="relay") == []
    seen = {name: Seen(facts(number, diagnosis=without.diagnosis), Clock()) for number, name in enumerate(["lab1"], 1)}
    assert judged(LAB[:1], "lab1", seen)[0].ok
    assert not judged(LAB[:1], "lab1", seen, "netem")[0].ok


def test_what_the_testbed_cannot_do_without_is_a_fault_with_all_remedies():
    missing = [
        Check("programs", "mnexec", False, True, "not found", "apt install mininet"),
        Check("kernel", "veth", False, True, "Operation not supported", "modprobe veth"),
        Check("programs", "ethtool", False, False, "not found", "apt install ethtool"),
        NETEM,
    ]
    (fault,) = report(facts(2, diagnosis=Diagnosis(False, "netem", missing)))
    assert fault.detail == "mnexec: not found; veth: Operation not supported"
    assert fault.remedy == "apt install mininet && modprobe veth"


@pytest.mark.parametrize(("offset_s", "error_s", "ok"), [(0.9, 0.01, True), (-1.2, 0.3, True), (-2.0, 0.3, False)])
def test_a_clock_that_nobody_looks_after_is_a_fault(offset_s, error_s, ok):
    found = report(clock=Clock(offset_s, error_s))
    assert [fault.check for fault in found] == ([] if ok else ["clock"])


def test_addresses_ports_and_disk_are_looked_at():
    (fault,) = report(facts(2, addresses=["10.9.0.2"]))
    assert (fault.check, fault.detail) == ("addresses", "has no 10.10.0.2")
    (fault,) = report(facts(2, free_blocks=[]))
    assert fault.check == "ports"
    (fault,) = report(facts(2, free_bytes={"/run": 100 << 20, "/dev/shm": 1 << 30, "/tmp": 1 << 30}))
    assert (fault.check, fault.detail) == ("disk", "/run has 100 MiB free, at least 256 are needed")


def test_ports_must_be_free_on_all_machines_alike():
    seen = {f"lab{number}": Seen(facts(number, free_blocks=[21000 + 200 * number]), Clock()) for number in (1, 2, 3)}
    for each in judged(LAB, "lab1", seen):
        assert [finding.check for finding in each.findings if not finding.ok] == ["ports"]


def test_what_could_not_be_asked_is_told_beside_what_could():
    two, three = LAB[1:]
    seen = {
        "lab1": Seen(facts(1), Clock()),
        "lab2": NoSudoError(two, "tester may not"),
        "lab3": FailedError(three, "no testbed there"),
    }
    one, second, third = judged(LAB, "lab1", seen)
    assert one.ok
    assert [(finding.check, finding.ok) for finding in second.findings] == [("ssh", True), ("root", False)]
    assert second.findings[-1].detail == "tester may not"
    assert [finding.check for finding in third.findings] == ["ssh", "root", "testbed"]
    off = judged(LAB[:2], "lab1", {"lab1": seen["lab1"], "lab2": UnreachableError(two, "does not answer")})[1]
    assert off.findings == [Finding("ssh", False, "does not answer")]


def write(lab: Lab, path: Path, **changes: dict[str, object]) -> Path:
    document = yaml.safe_load((ROOT / "topologies" / "two_edges.yaml").read_text())
    document["machines"] = {name: entry | changes.get(name, {}) for name, entry in lab.document().items()}
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.root
def test_a_lab_that_is_well_gives_a_table_and_status_0(lab, tmp_path):
    user = {"user": "helper"} if shutil.which("sudo") else {}
    done = lab.driver.testbed("machines", "check", write(lab, tmp_path / "lab.yaml", lab3=user))
    assert done.stdout.count("ready") == 3
    assert [line.split()[0] for line in done.stdout.splitlines() if "10.9.0." in line] == ["lab1", "lab2", "lab3"]
    assert done.stderr == ""
    assert [machine.left() for machine in lab.machines] == [[], [], []]


@pytest.mark.root
def test_each_machine_has_its_result_and_one_fault_gives_status_2(lab, tmp_path):
    code = tmp_path / "other"
    folder = Path(testbed.__file__).parent
    shutil.copytree(folder, code / "testbed", ignore=shutil.ignore_patterns("data", "__pycache__"))
    python = code / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={code} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    path = write(
        lab,
        tmp_path / "lab.yaml",
        lab2={"python": str(python), "tunnel_address": "10.10.0.77"},
        lab3={"python": "/no/such/python"},
    )
    done = lab.driver.testbed("machines", "check", path, "--json", check=False)
    assert done.returncode == 2, done.stderr
    one, two, three = json.loads(done.stdout)["machines"]
    assert one["ok"]
    faults = {finding["check"]: finding for finding in two["findings"] if not finding["ok"]}
    assert set(faults) == {"versions", "addresses"}
    assert faults["versions"]["remedy"] == "run `testbed machines prepare TOPOLOGY`"
    assert three["findings"][-1]["check"] == "testbed"
    assert "/no/such/python has no testbed" in three["findings"][-1]["detail"]
    assert [machine.left() for machine in lab.machines] == [[], [], []]
