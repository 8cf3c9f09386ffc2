"""Whether lab machines can carry a testbed: one report a machine, its faults beside the others' successes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from testbed.cluster.facts import FOLDERS, Asked, Facts, facts
from testbed.cluster.placement import here
from testbed.cluster.ports import chosen
from testbed.cluster.ssh import (
    FailedError,
    MachineError,
    NoSudoError,
    Remote,
    connected,
    in_parallel,
)
from testbed.documents.model import one_of
from testbed.documents.resolved import Machine, ResolvedTopology
from testbed.network.diagnosis import FOR_TUNNELS
from testbed.network.errors import RefusedError

CHECKS = ("ssh", "root", "testbed", "kernel", "versions", "clock", "addresses", "ports", "disk")

MAX_OFFSET_S = 1.0
"""Clocks are corrected by what is measured; one that is off by more than this is not looked after."""

_CLOCK_EXCHANGES = 7
_FACTS_TIMEOUT_S = 60.0


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at on one machine, and the command that mends it."""

    check: str
    ok: bool
    detail: str
    remedy: str | None = None


class Report(msgspec.Struct, frozen=True):
    """All that was looked at on one machine. What could not be looked at, for another fault, is left out."""

    machine: str
    address: str
    ok: bool
    findings: list[Finding]


class Clock(msgspec.Struct, frozen=True):
    """How far a machine's time of day is ahead of the driver's, in seconds, and how wrong that may be."""

    offset_s: float = 0.0
    error_s: float = 0.0


class Seen(msgspec.Struct, frozen=True):
    """What was learnt of one machine."""

    facts: Facts
    clock: Clock


def check(topology: ResolvedTopology, shaping: str = "auto") -> list[Report]:
    """A report on each machine of a topology, in its order; all are asked at once.

    Args:
        topology: one with machines, this one among them.
        shaping: auto, netem or relay, as `testbed up` has it.

    Raises:
        RefusedError: it names no machines, or this is none of them.
    """
    if not topology.machines:
        raise RefusedError(f"{topology.name} names no `machines`: give them, or run `testbed doctor` for this one")
    driver = here(topology)
    own = next(machine for machine in topology.machines if machine.name == driver)
    others = [machine for machine in topology.machines if machine.name != driver]
    with connected(others) as found:
        remote = in_parallel(_seen, found)
    seen: dict[str, Seen | MachineError] = {driver: Seen(facts(_asked(own)), Clock()), **remote}
    return judged(topology.machines, driver, seen, shaping)


def judged(
    machines: Sequence[Machine], driver: str, seen: Mapping[str, Seen | MachineError], shaping: str = "auto"
) -> list[Report]:
    """What is to be said of each machine by what was seen of all."""
    good = {name: one.facts for name, one in seen.items() if isinstance(one, Seen)}
    reports = []
    for machine in machines:
        one = seen[machine.name]
        findings = _unseen(one) if isinstance(one, MachineError) else _judged(machine, driver, one, good, shaping)
        reports.append(Report(machine.name, machine.address, all(each.ok for each in findings), findings))
    return reports


def _seen(remote: Remote) -> Seen:
    return Seen(remote.call("facts", _asked(remote.machine), Facts, _FACTS_TIMEOUT_S), _clock(remote))


def _asked(machine: Machine) -> Asked:
    return Asked(machine.address, machine.tunnel_address)


def _clock(remote: Remote) -> Clock:
    """The best of a few readings of its clock: half of what the shortest took is what it may be wrong by."""
    readings = []
    for _ in range(_CLOCK_EXCHANGES):
        asked_s = time.time()
        done = remote.run(["date", "+%s.%N"])
        back_s = time.time()
        try:
            readings.append((back_s - asked_s, float(done.stdout.split()[-1]) - (asked_s + back_s) / 2))
        except (ValueError, IndexError):
            raise FailedError(remote.machine, f"its clock cannot be read: {done.complaint}") from None
    took_s, offset_s = min(readings)
    return Clock(offset_s, took_s / 2)


def _unseen(error: MachineError) -> list[Finding]:
    passed = {NoSudoError: ("ssh",), FailedError: ("ssh", "root")}.get(type(error), ())
    return [*(Finding(name, True, "yes") for name in passed), Finding(CHECKS[len(passed)], False, error.fault)]


def _judged(machine: Machine, driver: str, seen: Seen, all_facts: Mapping[str, Facts], shaping: str) -> list[Finding]:
    own, first = seen.facts, all_facts[driver]
    is_driver = machine.name == driver
    return [
        Finding("ssh", True, "this machine" if is_driver else "yes"),
        Finding("root", True, "yes" if machine.user == "root" or is_driver else f"{machine.user} by sudo"),
        Finding("testbed", True, f"{own.software.version} of {own.software.code}"),
        _kernel(own, all_facts, shaping),
        _versions(own, first, driver),
        _clock_finding(seen.clock, is_driver),
        _addresses(machine, own),
        _ports(machine, own, all_facts),
        _disk(own),
    ]


def _kernel(own: Facts, all_facts: Mapping[str, Facts], shaping: str) -> Finding:
    needed = [check for check in own.diagnosis.checks if check.needed or check.name in FOR_TUNNELS]
    missing = [check for check in needed if not check.ok and check.group != "python"]
    if missing:
        what = "; ".join(f"{check.name}: {check.detail}" for check in missing)
        return Finding("kernel", False, what, " && ".join(check.remedy for check in missing if check.remedy) or None)
    best = own.diagnosis.shaping
    if best != "netem" and shaping != "relay":
        those = [name for name, facts in all_facts.items() if facts.diagnosis.shaping == "netem"]
        why = "is asked for" if shaping == "netem" else f"{one_of(those)} would use it"
        if shaping == "netem" or those:
            detail = next(check.detail for check in own.diagnosis.checks if check.name == "netem")
            remedy = "modprobe sch_netem (Debian: apt install linux-image-amd64), or --shaping relay for all"
            return Finding("kernel", False, f"has no netem, and {why}: {detail}", remedy)
    used = best if shaping == "auto" else shaping
    return Finding("kernel", True, f"{own.kernel}, {used}, {own.cpus} CPUs, {own.memory_bytes >> 30} GiB")


def _versions(own: Facts, first: Facts, driver: str) -> Finding:
    if fault := own.software.fault_beside(first.software, driver):
        return Finding("versions", False, *fault)
    return Finding("versions", True, f"Python {own.software.python}, ray {own.software.packages.get('ray')}")


def _clock_finding(clock: Clock, is_driver: bool) -> Finding:
    if is_driver:
        return Finding("clock", True, "this machine's")
    told = f"{clock.offset_s * 1e3:+.1f} ms (± {clock.error_s * 1e3:.1f})"
    ok = abs(clock.offset_s) - clock.error_s <= MAX_OFFSET_S
    return Finding(
        "clock", ok, told, None if ok else "timedatectl set-ntp true (Debian: apt install systemd-timesyncd)"
    )


def _addresses(machine: Machine, own: Facts) -> Finding:
    asked = dict.fromkeys((machine.address, machine.tunnel_address))
    lacking = [address for address in asked if address not in own.addresses]
    if not lacking:
        return Finding("addresses", True, ", ".join(asked))
    remedy = f"give what it has as `address` or `tunnel_address`: {one_of(own.addresses)}"
    return Finding("addresses", False, f"has no {', '.join(lacking)}", remedy)


def _ports(machine: Machine, own: Facts, all_facts: Mapping[str, Facts]) -> Finding:
    if machine.address not in own.addresses:
        return Finding("ports", False, "cannot be tried without its address")
    try:
        chosen(machine.name, {name: one.free_blocks for name, one in all_facts.items() if one.free_blocks})
    except RefusedError as error:
        return Finding("ports", False, str(error))
    if not own.free_blocks:
        return Finding("ports", False, "no block of those that Ray needs is free", "testbed down --all, on it")
    return Finding("ports", True, f"{len(own.free_blocks)} blocks are free")


def _disk(own: Facts) -> Finding:
    full = [
        f"{folder} has {own.free_bytes[folder] >> 20} MiB free, at least {needed} are needed"
        for folder, needed in FOLDERS.items()
        if own.free_bytes[folder] < needed << 20
    ]
    if full:
        return Finding("disk", False, "; ".join(full), "remove what is not needed there, or make it larger")
    least = min(own.free_bytes.values())
    return Finding("disk", True, f"{least >> 20} MiB at the least")
