"""What a node's parts of an inference take, and what becomes of each photograph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from testbed.documents.resolved import Compute
from testbed.jobs.decision import Option
from testbed.jobs.profile import Profile, ProfileRow
from testbed.runtime.payload_store import PayloadStore


class Sized(msgspec.Struct, frozen=True):
    """What one photograph becomes under one option."""

    payload_bytes: int
    predicted: int


Photographs = Mapping[tuple[int, Option], Sized]


class Parts(NamedTuple):
    """Seconds that the parts of an inference take on one node."""

    head_s: float
    encode_s: float
    decode_s: float
    tail_s: float


def read_photographs(store: Path, indices: frozenset[int], profile: Profile) -> Photographs:
    """What the prepared payloads of a run's photographs amount to."""
    stored = PayloadStore(store, indices)
    keys = ((image, row.option) for image in indices for row in profile.rows)
    return {key: Sized(len(one.payload), one.predicted) for key in keys if (one := stored.get(key))}


class Pace:
    """How long a node computes: FLOPs over its pace, and a little more in all; where live, the profile's seconds."""

    def __init__(self, compute: Compute, profile: Profile, outlasts_s: float) -> None:
        self.flops_per_s = compute.flops_per_s or profile.reference_flops_per_s
        live = compute.flops_per_s is None
        self._expected = {row.option: _seconds(row) if live else _paced(row, self.flops_per_s) for row in profile.rows}
        self._real = (
            self._expected
            if live
            else {option: _outlasting(parts, outlasts_s) for option, parts in self._expected.items()}
        )

    def expected(self, option: Option) -> Parts:
        """What the parts should take."""
        return self._expected[option]

    def real(self, option: Option) -> Parts:
        """What they take."""
        return self._real[option]


def _outlasting(parts: Parts, by_s: float) -> Parts:
    """Head and encoder are passed in one go, as are decoder and tail: what ends late is the last of them."""
    head_s, encode_s, decode_s, tail_s = parts
    if encode_s > 0:
        encode_s += by_s
    elif head_s > 0:
        head_s += by_s
    if tail_s > 0:
        tail_s += by_s
    return Parts(head_s, encode_s, decode_s, tail_s)


def _seconds(row: ProfileRow) -> Parts:
    return Parts(row.head_s, row.encode_s, row.decode_s, row.tail_s)


def _paced(row: ProfileRow, flops_per_s: float) -> Parts:
    return Parts(
        row.head_flops / flops_per_s,
        row.encode_flops / flops_per_s,
        row.decode_flops / flops_per_s,
        row.tail_flops / flops_per_s,
    )
