"""Which photographs train, select and test: a seeded division, stratified by class."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Literal

import msgspec

from testbed.aecnn.photographs import Photographs

Role = Literal["train", "validation", "test"]

SEED = 1
TEST_SHARE, TEST_LEAST = 0.08, 3
VALIDATION_SHARE, VALIDATION_LEAST = 0.04, 2


class Division(msgspec.Struct, frozen=True):
    """Names of the photographs by their role; `test` is what the shipped sample is made of."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def indices(self, photographs: Photographs, role: Role) -> list[int]:
        """Indices of the photographs that have this role, in their order."""
        names = set(getattr(self, role))
        return [index for index in range(len(photographs)) if photographs.name(index) in names]


def divide(photographs: Photographs, seed: int = SEED) -> Division:
    """Divide every class by a hash of the seed and the photograph's file name, each role with the classes' own shares.

    The class is left out of the hash, so that the two croppings of one photograph that Caltech-101 has under one number
    (`Faces` and `Faces_easy`) fall on the same side.
    """
    by_class: dict[int, list[str]] = defaultdict(list)
    for index in range(len(photographs)):
        by_class[photographs.label(index)].append(photographs.name(index))
    roles: dict[Role, list[str]] = {"train": [], "validation": [], "test": []}
    for names in by_class.values():
        ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name.split('/')[1]}".encode()).digest())
        test = max(TEST_LEAST, round(TEST_SHARE * len(names)))
        validation = test + max(VALIDATION_LEAST, round(VALIDATION_SHARE * len(names)))
        roles["test"] += ranked[:test]
        roles["validation"] += ranked[test:validation]
        roles["train"] += ranked[validation:]
    return Division(**{role: tuple(sorted(names)) for role, names in roles.items()})
