"""A lab of three machines, where one can be built."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.lab import Lab, why_no_lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three lab machines that a module's tests share; each test leaves them as it found them."""
    if fault := why_no_lab():
        pytest.skip(fault)
    with Lab(3) as machines:
        yield machines
