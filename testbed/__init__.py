"""A network emulation testbed for device-edge CNN co-inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.api import Run, Testbed, read_topology, read_workload, simulate
    from testbed.documents.topology import Topology
    from testbed.documents.workload import Workload

__version__ = "0.1.0"
__all__ = ["Run", "Testbed", "Topology", "Workload", "read_topology", "read_workload", "simulate"]


def __getattr__(name: str) -> Any:
    """What Python users work with, imported when it is first asked for: commands are to be quick."""
    if name in __all__:
        from testbed import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
