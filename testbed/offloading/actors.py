"""Trained actors in files: their weights, what kind they are, and what was written about their training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from testbed.offloading.droo import BinaryActor, FlatActor
from testbed.offloading.errors import PolicyError
from testbed.offloading.grl import GraphActor
from testbed.offloading.policy_file import load_arrays, save_arrays

_FORMAT = "testbed-actor-1"

KINDS: dict[str, type[GraphActor | FlatActor | BinaryActor]] = {
    "grl": GraphActor,
    "droo": FlatActor,
    "droo-binary": BinaryActor,
}
"""The actors by the names that their files use."""


class Description(msgspec.Struct, frozen=True):
    """What an actor's file says of it."""

    kind: str
    about: dict[str, Any]  # what its trainer wants known, such as the scenario, the profile's checkpoint and the seed


def save_actor(path: Path, actor: GraphActor | FlatActor | BinaryActor, about: dict[str, Any]) -> None:
    """Writes an actor, in full precision."""
    kind = next(name for name, made in KINDS.items() if type(actor) is made)
    save_arrays(path, actor.weights, _FORMAT, msgspec.json.encode(Description(kind, about)).decode())


def load_actor(path: Path) -> tuple[GraphActor | FlatActor | BinaryActor, Description]:
    """Reads an actor.

    Raises:
        PolicyError: there is no such file, or it is no actor of this program's.
    """
    arrays, described = load_arrays(path, _FORMAT)
    try:
        description = msgspec.json.decode(described, type=Description)
        return KINDS[description.kind](arrays), description
    except (msgspec.DecodeError, KeyError) as error:
        raise PolicyError(f"{path}: not an actor: {error}") from None
