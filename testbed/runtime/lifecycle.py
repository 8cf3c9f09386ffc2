"""A testbed from `up` to `down`: brought up whole or not at all, and found again by later commands."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import msgspec

from testbed.cluster import ray_head, undo
from testbed.cluster.gathering import gathered
from testbed.documents.resolved import ResolvedTopology
from testbed.network.certify import CertificateEntry
from testbed.network.diagnosis import require
from testbed.network.ownership import Ownership, resolve_name
from testbed.network.shape import Shaping
from testbed.network.state import read_state
from testbed.network.undo import UndoReport
from testbed.runtime.assembly import Assembly

Tell = Callable[[str], None]

_SETTLE_AT_MOST_S = 20.0
_SETTLE_STEP_S = 0.5
_IDLE = 0.1  # of one core


class Running(msgspec.Struct, frozen=True):
    """A testbed that is up, as a command holds it."""

    topology: ResolvedTopology
    shaping: Shaping
    assembly: Assembly
    certificate: list[CertificateEntry]  # as measured when it came up


@contextlib.contextmanager
def brought_up(topology: ResolvedTopology, shaping: Shaping, *, keep: bool, tell: Tell) -> Iterator[Running]:
    """Bring a testbed up for the block; afterwards it stays if `keep`, and is undone otherwise.

    Whatever goes wrong, in here or in the block, an interruption included, undoes it; `tell` hears of each step.

    Raises:
        NetworkError, RayError, AssemblyError: it could not be brought up; nothing is left of it.
    """
    require(topology)
    with gathered(topology, shaping) as gathering:
        ownership = Ownership.create(topology.name, gathering.machine)
        done = False
        try:
            tell("starting Ray")
            gathering.record(ownership)
            head = ray_head.start(ownership, gathering.address, gathering.ports)
            gathering.join(head)
            with ray_head.connected(head) as ray:
                assembly = Assembly.bring_up(ray, topology, shaping, gathering.ports, tell)
                tell("waiting until it has settled")
                _settle(assembly)
                certificate = assembly.certify(tell)
                store_certificate(ownership, certificate)
                yield Running(topology, shaping, assembly, certificate)
                done = True
        finally:
            if keep and done:
                ownership.release()
            else:
                tell("taking it down")
                _complain(undo.take_down(ownership), tell)


@contextlib.contextmanager
def attached(name: str | None) -> Iterator[Running]:
    """A testbed that is up, held for the block, so that no other command works on it meanwhile.

    Raises:
        NetworkError: none of that name is up, it is not whole, or another command holds it.
        RayError, AssemblyError: its processes do not answer.
    """
    ownership = Ownership.open(resolve_name(name))
    ownership.acquire()
    try:
        state = read_state(ownership)
        head = ray_head.head_of(ownership.folder)
        with ray_head.connected(head) as ray:
            assembly = Assembly.find(ray, state.topology, head.ports)
            yield Running(state.topology, state.shaping, assembly, [])
    finally:
        ownership.release()


def topology_up(name: str | None) -> ResolvedTopology:
    """The topology of a testbed that is up; asks no process.

    Raises:
        NetworkError: none of that name is up, or it is not whole.
    """
    return read_state(Ownership.open(resolve_name(name))).topology


def _settle(assembly: Assembly) -> None:
    """Wait until what was just started has finished starting: its work would be measured as the links' delay."""
    deadline_s = time.monotonic() + _SETTLE_AT_MOST_S
    used_s = assembly.cpu_s()
    while time.monotonic() < deadline_s:
        time.sleep(_SETTLE_STEP_S)
        before_s, used_s = used_s, assembly.cpu_s()
        if used_s - before_s < _IDLE * _SETTLE_STEP_S:
            return


def store_certificate(ownership: Ownership, before: list[CertificateEntry]) -> None:
    """Keep the last certificate of a testbed beside it."""
    path = ownership.folder.parent / "certificate.json"
    ownership.record("file", path=str(path))
    path.write_bytes(msgspec.json.format(msgspec.json.encode({"before": before})))


def _complain(reports: Mapping[str, UndoReport], tell: Tell) -> None:
    for report in reports.values():
        for failure in report.failures:
            tell(f"could not be undone: {failure}; try `testbed down` again")
