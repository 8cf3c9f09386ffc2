"""What is compared on a poor channel: each method is what one device does with every job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from testbed.jobs.decision import JPEG, LOCAL, RAW, Decision, Kind, Option
from testbed.jobs.observation import Observation
from testbed.jobs.profile import Profile, ProfileRow

OURS, RIVAL = "aecnn", "bottlenet++"
RATIOS = (128.0, 256.0, 512.0)
RIVAL_RATIOS = (256.0, 512.0)  # of AECNN's after the deepest split, whose bytes the rival is to have
PLAIN = {"local": LOCAL, "full, raw": RAW, "full, JPEG": JPEG}


class Method(msgspec.Struct, frozen=True):
    """An option of the profile, by the name that tables give it."""

    name: str
    option: Option
    ratio: float | None = None  # nominal
    like: str | None = None  # the method whose bytes it is to have


class ByDevice:
    """Decides for each device what the experiment's documents say; every device has an edge of its own."""

    def __init__(self, seed: int, decisions: Mapping[str, object]) -> None:
        self.decisions = msgspec.convert(decisions, dict[str, Decision])

    def decide(self, observation: Observation) -> Decision:
        """The one decision of the job's device."""
        return self.decisions[observation.job.device]


def compared(profile: Profile) -> list[Method]:
    """The methods that a profile has: local, full offloading, AECNN at several ratios after each split, and the rival
    at the bytes nearest to AECNN's."""
    methods = [Method(name, option) for name, option in PLAIN.items() if option in profile.by_option]
    ours = [row for row in profile.rows if row.option.kind is Kind.SPLIT and row.option.encoding == OURS]
    splits = list(dict.fromkeys(row.option.point.split for row in ours if row.option.point))
    for split in sorted(splits, reverse=True):
        for ratio in RATIOS:
            if best := _best(row for row in ours if _at(row, split, ratio)):
                methods.append(Method(f"AECNN {ratio:g}x after {split}", best.option, ratio))
                if split == max(splits) and ratio in RIVAL_RATIOS:
                    methods += _rival(profile, best, methods[-1])
    return methods


def _rival(profile: Profile, ours: ProfileRow, like: Method) -> list[Method]:
    """The rival's point after the same split with the bytes nearest to ours; nothing where the profile has none."""
    split = ours.option.point.split if ours.option.point else None
    rows = [row for row in profile.rows if row.option.encoding == RIVAL and _at(row, split, None)]
    if not rows:
        return []
    nearest = min(rows, key=lambda row: abs(row.payload_mean - ours.payload_mean))
    name = f"BottleNet++ like {like.name.removeprefix('AECNN ')}"
    return [Method(name, nearest.option, nearest.nominal_ratio, like.name)]


def _at(row: ProfileRow, split: str | None, ratio: float | None) -> bool:
    at = row.option.point
    return at is not None and at.split == split and ratio in (None, row.nominal_ratio)


def _best(rows: Iterable[ProfileRow]) -> ProfileRow | None:
    return max(rows, key=lambda row: row.accuracy, default=None)
