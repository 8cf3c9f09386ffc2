"""Where flows lost how much: what every link lost is known, and about what every flow lost on its whole way."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Link = TypeVar("_Link", bound=Hashable)
_Floats = npt.NDArray[np.float64]

_ROUNDS = 200
_NOTHING = 1e-9  # bytes
_LEAST = 1e-6
"""Of what a flow sent: a link's loss is somebody's, also where no flow knows of one."""


def apportioned(
    ways: Sequence[Sequence[_Link]],
    sent_bytes: Sequence[float],
    lost_bytes: Sequence[float | None],
    link_bytes: Mapping[_Link, float],
) -> list[list[float]]:
    """What each flow lost on each link of its way, in bytes; together what the links lost.

    By iterative proportional fitting (Deming and Stephan, Annals of Mathematical Statistics 11, 1940): parts in the
    proportions of the flows' losses are scaled to the flows' and the links' sums in turn.

    Args:
        ways: the links of each flow.
        sent_bytes: by each flow.
        lost_bytes: by each flow on its whole way, about; None: nobody knows.
        link_bytes: lost on each link, by all flows.
    """
    number = {link: index for index, link in enumerate(link_bytes)}
    flow = np.array([index for index, way in enumerate(ways) for _ in way], dtype=np.int64)
    link = np.array([number[link] for way in ways for link in way], dtype=np.int64)
    of_links = np.array(list(link_bytes.values()))
    least = _LEAST * np.array(sent_bytes)
    of_flows = np.array([np.nan if lost is None else lost for lost in lost_bytes])
    of_flows = np.where(np.isnan(of_flows), np.nan, np.maximum(of_flows, least))
    parts: _Floats = np.where(np.isnan(of_flows), least, of_flows)[flow]
    for _ in range(_ROUNDS):
        for wanted, of in ((of_flows, flow), (of_links, link)):
            found = np.bincount(of, parts, len(wanted)).astype(np.float64)
            parts = parts * _scale(wanted, found)[of]
    taken = iter(parts.tolist())
    return [[next(taken) for _ in way] for way in ways]


def _scale(wanted: _Floats, found: _Floats) -> _Floats:
    return np.divide(wanted, found, out=np.ones_like(found), where=(found > _NOTHING) & ~np.isnan(wanted))
