"""The clocks of a testbed's machines, as the driver's machine measures them, and one-way times between them."""

from __future__ import annotations

import time
from collections.abc import Collection

import msgspec

from testbed.cluster.clocks import SAME, Offset, measured
from testbed.cluster.placement import used
from testbed.cluster.ports import Ports
from testbed.documents.resolved import ResolvedTopology
from testbed.network.errors import NetworkError

_EXCHANGES = 100
_WITHIN_S = 0.5


class ClockTold(msgspec.Struct, frozen=True):
    """What a manifest tells of a machine's monotonic clock: how far it was ahead of the driver's machine's when the run
    was prepared, how far that moved until it ended, and by how much either may be wrong."""

    offset_s: float
    drift_s: float
    error_s: float


class Clocks:
    """How far the machines' clocks are ahead of this one's."""

    def __init__(self, topology: ResolvedTopology, here: str, ports: Ports | None) -> None:
        self._addresses = {one.name: one.address for one in topology.machines}
        self._here, self._ports = here, ports
        self.machines = [name for name in used(topology) if name != here]
        self.measured_s = 0.0  # when it last was (monotonic clock)
        self._offsets: dict[str, Offset] = {here: SAME}
        self._first: dict[str, Offset] = {}
        self._worst_s: dict[str, float] = {}

    def at(self, machine: str) -> tuple[str, int]:
        """Where a machine is to tell the time."""
        assert self._ports is not None
        return self._addresses[machine], self._ports.clock

    def begin(self) -> None:
        """A run begins: what `told` tells is from here on."""
        self._first, self._worst_s = {}, {}

    def measure(self, lost: Collection[str] = ()) -> None:
        """Measure all but those that are lost; one that does not answer keeps what was last measured.

        Raises:
            NetworkError: one has never answered.
        """
        own = self._addresses[self._here]
        for name in self.machines:
            if name in lost:
                continue
            try:
                offset = measured(own, *self.at(name), exchanges=_EXCHANGES, within_s=_WITHIN_S)
            except NetworkError:
                if name not in self._offsets:
                    raise
                continue
            self._offsets[name] = offset
            self._first.setdefault(name, offset)
            self._worst_s[name] = max(self._worst_s.get(name, 0.0), offset.error_s)
        self.measured_s = time.monotonic()

    def there(self, machine: str, instant_s: float) -> float:
        """What a machine's clock shows at an instant of this one's."""
        return self._offsets[machine].there(instant_s)

    def from_machine(self, machine: str) -> dict[str, Offset]:
        """How far each machine's clock is ahead of that machine's."""
        return {name: offset.since(self._offsets[machine]) for name, offset in self._offsets.items()}

    def told(self) -> dict[str, ClockTold]:
        """What is to be told of a run that ends now."""
        return {
            name: ClockTold(first.offset_s, self._offsets[name].offset_s - first.offset_s, self._worst_s[name])
            for name, first in self._first.items()
        }


def one_way_s(
    sent_s: float, received_s: float, done_s: float, answered_s: float, ahead_s: float
) -> tuple[float, float]:
    """What a question and its answer spent on their ways, by the clocks of both ends: their sum is exact.

    Where an error of the clocks would have either arrive before it was sent, it took no time and the other all.

    Args:
        sent_s: the question, on the asker's clock.
        received_s: the question, on the other clock.
        done_s: the answer sent, on the other clock.
        answered_s: the answer received, on the asker's clock.
        ahead_s: how far the other clock is ahead of the asker's.
    """
    both_s = max(0.0, (answered_s - sent_s) - (done_s - received_s))  # which rounding may bring below
    there_s = min(max(0.0, received_s - ahead_s - sent_s), both_s)
    return there_s, both_s - there_s
