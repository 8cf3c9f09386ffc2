"""What can be decided for a job: where it is computed, and how its payload is encoded."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from testbed.documents.resolved import SPLITS as SPLITS


class Kind(StrEnum):
    """The three kinds of decision."""

    LOCAL = "local"
    FULL = "full"
    SPLIT = "split"


class OperatingPoint(msgspec.Struct, frozen=True, order=True):
    """How a split inference is compressed: after which stage, how many channels are sent, at how many bits each."""

    split: str
    kept_channels: int
    bits: int

    def __str__(self) -> str:
        return f"{self.split}/k{self.kept_channels}/b{self.bits}"


class Option(msgspec.Struct, frozen=True):
    """One way to compute a job, the edge left open: a row of the profile.

    `encoding` names what travels: "" for local, "raw" or "jpeg" for full, "aecnn" (or a rival's name) for split.
    """

    kind: Kind
    encoding: str = ""
    point: OperatingPoint | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind.value, self.encoding, str(self.point or ""))))


LOCAL = Option(Kind.LOCAL)
RAW = Option(Kind.FULL, "raw")
JPEG = Option(Kind.FULL, "jpeg")


class Decision(msgspec.Struct, frozen=True):
    """An option, and the edge that takes part in it (None for local)."""

    option: Option
    edge: str | None = None
