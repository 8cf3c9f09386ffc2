"""Leaves out, with the reason, the tests that this machine cannot run."""

from __future__ import annotations

import os
from functools import cache

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's threads wait for each other, for long where cores are busy


@cache
def _why_no_netem() -> str | None:
    from testbed.network.probe import netem_fault

    return "needs root, to try netem" if os.geteuid() != 0 else netem_fault()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker("lab")
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: run the tests through sudo"))
        elif item.get_closest_marker("netem") and (fault := _why_no_netem()):
            item.add_marker(pytest.mark.skip(reason=f"this kernel has no netem: {fault}"))
    items.sort(key=lambda item: item.get_closest_marker("lab") is None)
