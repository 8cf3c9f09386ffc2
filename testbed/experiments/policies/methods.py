"""Who is compared: ways to decide, each with the encodings that it may choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from testbed.jobs.decision import LOCAL, Kind
from testbed.jobs.profile import Profile
from testbed.offloading.slot_baselines import (
    EXHAUSTIVE_LIMIT,
    Chooser,
    FullChooser,
    GreedyChooser,
    LocalChooser,
    RandomChooser,
)

WHOLE = ("raw", "jpeg")
"""Photographs as the device has them: what everybody may choose."""

OURS, DROO = "GRL-AECNN", "DROO-AECNN"


class Method(msgspec.Struct, frozen=True):
    """A way to decide. `beside` are encodings beside whole photographs and local computing, by how they begin."""

    name: str
    beside: tuple[str, ...]
    learner: Literal["grl", "droo"] | None = None

    @property
    def short(self) -> str:
        """For names of files."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower())


METHODS = (
    Method(OURS, ("aecnn",), "grl"),
    Method(DROO, ("aecnn",), "droo"),
    Method("GRL-BottleNet++", ("bottlenet++",), "grl"),
    Method("GRL-DeepJSCC", ("deepjscc",), "grl"),
    Method("GRL, recompressed photographs", ("jpeg", "webp"), "grl"),
    Method("GRL, early exits", ("exit",), "grl"),
    Method("GRL, no compression", (), "grl"),
    Method("greedy", ("aecnn",)),
    Method("local", ("aecnn",)),
    Method("full", ("aecnn",)),
    Method("random", ("aecnn",)),
)

CHOOSERS: dict[str, Callable[[int], Chooser]] = {
    "greedy": lambda seed: GreedyChooser(),
    "local": lambda seed: LocalChooser(),
    "full": lambda seed: FullChooser(),
    "random": RandomChooser,
}
"""Of the methods that learn nothing, by a seed."""


def encodings_of(method: Method, profile: Profile) -> tuple[str, ...] | None:
    """What the method chooses from, or None where the profile has nothing of what makes it this method."""
    known = profile.encodings
    others = (one for one in known if one not in WHOLE)
    named = [one for one in others if any(one == begun or one.startswith(f"{begun}-") for begun in method.beside)]
    if method.beside and not named:
        return None
    return (*(one for one in WHOLE if one in known), *named)


def reduced(profile: Profile, devices: int, edges: int) -> Profile:
    """So many of the profile's split points, evenly spaced by their bytes, that all decisions can be tried."""
    splits = sorted(
        (row for row in profile.rows if row.option.kind is Kind.SPLIT), key=lambda row: (row.payload_mean, row.accuracy)
    )
    for count in range(len(splits), -1, -1):
        places = {round(place * (len(splits) - 1) / max(1, count - 1)) for place in range(count)}
        kept = {splits[place].option for place in places}
        rows = tuple(row for row in profile.rows if row.option.kind is not Kind.SPLIT or row.option in kept)
        away = sum(row.option.kind is not Kind.LOCAL for row in rows)
        if (len(rows) - away + away * edges) ** devices <= EXHAUSTIVE_LIMIT:
            return msgspec.structs.replace(profile, rows=rows)
    return msgspec.structs.replace(profile, rows=tuple(row for row in profile.rows if row.option == LOCAL))
