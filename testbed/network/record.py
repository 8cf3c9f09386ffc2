"""The channel as applied: the rows of `links.parquet`, gathered in columns."""

from __future__ import annotations

import msgspec

from testbed.documents.resolved import LinkParameters

_DIRECTIONS = ("up", "down")


class LinkRows(msgspec.Struct):
    """One direction of a link in each row, as it was from `t_s` on. Columns, so that thousands a second cost little."""

    t_s: list[float] = []  # when it was applied, from the run's start
    a: list[str] = []
    b: list[str] = []
    direction: list[str] = []  # "up" (from a to b) or "down"
    bandwidth_bps: list[float] = []
    delay_ms: list[float] = []
    jitter_ms: list[float] = []
    loss: list[float] = []  # 0 to 1
    burst: list[float | None] = []  # mean number of packets lost in a row; None: each is lost on its own
    asked_s: list[float] = []  # when it was to be applied

    def add(
        self, asked_s: float, t_s: float, link: tuple[str, str], direction: int, parameters: LinkParameters
    ) -> None:
        """Adds a row; direction 0 is up."""
        self.t_s.append(t_s)
        self.a.append(link[0])
        self.b.append(link[1])
        self.direction.append(_DIRECTIONS[direction])
        self.bandwidth_bps.append(parameters.bandwidth_bps)
        self.delay_ms.append(parameters.delay_s * 1e3)
        self.jitter_ms.append(parameters.jitter_s * 1e3)
        self.loss.append(parameters.loss)
        self.burst.append(parameters.burst)
        self.asked_s.append(asked_s)

    def extend(self, other: LinkRows) -> None:
        """Adds another's rows behind these."""
        for name in self.__struct_fields__:
            getattr(self, name).extend(getattr(other, name))
