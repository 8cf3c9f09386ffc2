"""The profile: the measured table of what each option costs and is worth, for one checkpoint."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import msgspec

from testbed.jobs.decision import LOCAL, Option


class ProfileRow(msgspec.Struct, frozen=True):
    """What one option was measured to cost and to be worth.

    FLOPs count a multiply-add as two. `encode_flops` and `decode_flops` hold the FLOPs of attention and feature
    recovery, plus the coder's and the JPEG codec's measured seconds times the profile's `reference_flops_per_s`, so
    that pacing a node at X FLOP/s slows integer work down in the same measure as the network. Seconds are medians of
    one photograph on one thread.
    """

    option: Option
    nominal_ratio: float | None  # (C/k) * (32/b); None unless split
    accuracy: float  # top-1 over the profile's images, 0 to 1
    mean_class_accuracy: float
    payload_mean: float  # bytes, the codec's header included
    payload_p95: float
    head_flops: float  # on the device (local: the whole network)
    encode_flops: float
    decode_flops: float
    tail_flops: float  # on the edge
    head_s: float
    encode_s: float
    decode_s: float
    tail_s: float
    accuracy_interval: tuple[float, float] | None = None  # 95 %; None in profiles that do not say
    mean_class_interval: tuple[float, float] | None = None
    comparison: bool = False  # a rival's: policies consider it only if they are told to


class Profile(msgspec.Struct, frozen=True, dict=True):
    """The options of one checkpoint, measured over one set of photographs."""

    checkpoint: str  # SHA-256 of the checkpoint file, hexadecimal
    images: str  # which photographs: "sample", or the path that was given
    n: int
    input_px: int
    reference_flops_per_s: float  # FLOPs of the whole network over its seconds, on the machine that profiled
    rows: tuple[ProfileRow, ...]
    runtime: str = "torch"  # what computed the network while it was measured; profiles that do not say: torch

    def considered(self, encodings: Collection[object] | None = None) -> Profile:
        """Local, and the options of these encodings; None: all that are not there for comparison."""
        rows = (row for row in self.rows if row.option == LOCAL or self._is_considered(row, encodings))
        return msgspec.structs.replace(self, rows=tuple(rows))

    @staticmethod
    def _is_considered(row: ProfileRow, encodings: Collection[object] | None) -> bool:
        return not row.comparison if encodings is None else row.option.encoding in encodings

    @property
    def encodings(self) -> tuple[str, ...]:
        """What its options are encoded by, in alphabetical order."""
        return tuple(sorted({row.option.encoding for row in self.rows} - {""}))

    @cached_property
    def by_option(self) -> dict[Option, ProfileRow]:
        """The rows by their option."""
        return {row.option: row for row in self.rows}
