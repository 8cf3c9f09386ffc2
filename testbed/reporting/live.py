"""A run as it goes on: what it tells of itself, and the view of it that terminal, page and metrics share."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.network.record import LinkRows

HISTORY_S = 600
"""So many seconds of a run, the last, are kept for its curve."""
RECENT_S = 10.0
_EARLIER = 20
_MOST_RECENT = 20_000


class Standing(msgspec.Struct, frozen=True):
    """How a run stands, and what is new since it last told."""

    elapsed_s: float
    duration_s: float
    issued: int  # jobs of the whole run
    ended: dict[Outcome, int]
    run: str = ""  # its folder's name
    policy: str = ""
    rows: Sequence[LedgerRow] = ()  # of the jobs that have ended since
    links: LinkRows | None = None  # as set since
    backlogs_s: dict[str, float] = {}  # by edge: seconds of work that it holds


class LinkNow(msgspec.Struct, frozen=True):
    """One direction of a link as it is set."""

    start: str
    end: str
    bandwidth_bps: float
    delay_ms: float
    loss: float  # 0 to 1; 1 while it is cut


class EdgeNow(msgspec.Struct, frozen=True):
    """An edge: the work that it holds, and the jobs that it was given and answered on time."""

    name: str
    backlog_s: float
    jobs: int
    on_time: int


class Earlier(msgspec.Struct, frozen=True):
    """A run of the series that is over."""

    run: str
    policy: str
    issued: int
    ended: int
    on_time: int


class View(msgspec.Struct, frozen=True):
    """What is shown of a run. Shares are 0 to 1; null where there is nothing to tell."""

    run: str = ""  # none yet
    policy: str = ""
    elapsed_s: float = 0.0
    duration_s: float = 0.0
    issued: int = 0
    ended: dict[str, int] = {}  # by outcome
    success: float | None = None  # of the jobs that have ended
    success_recent: float | None = None  # of those that ended in the last ten seconds; so the completions
    completion_p50_ms: float | None = None
    completion_p95_ms: float | None = None
    links: list[LinkNow] = []
    edges: list[EdgeNow] = []
    history: list[tuple[int, int, int]] = []  # second of arrival, jobs that have ended, of which on time
    earlier: list[Earlier] = []
    over: bool = False  # nothing more will come


class Live:
    """Gathers what runs tell, one after the other; holds a bounded amount, however long they go on."""

    def __init__(self) -> None:
        self._earlier: collections.deque[Earlier] = collections.deque(maxlen=_EARLIER)
        self._begin(None)

    def _begin(self, standing: Standing | None) -> None:
        self._last = standing
        self._links: dict[tuple[str, str], LinkNow] = {}
        self._jobs: collections.Counter[str] = collections.Counter()
        self._on_time: collections.Counter[str] = collections.Counter()
        self._recent: collections.deque[tuple[float, bool, float | None]] = collections.deque(maxlen=_MOST_RECENT)
        self._history: dict[int, tuple[int, int]] = {}

    def tell(self, standing: Standing) -> None:
        """Takes what is new."""
        if self._last is None or self._last.run != standing.run:
            self._put_by()
            self._begin(standing)
        self._last = standing
        for row in standing.rows:
            self._count(row, standing.elapsed_s)
        while self._recent and self._recent[0][0] < standing.elapsed_s - RECENT_S:
            self._recent.popleft()
        for second in sorted(self._history)[:-HISTORY_S]:
            del self._history[second]
        if standing.links:
            self._set(standing.links)

    @property
    def view(self) -> View:
        """What there is to show now."""
        last = self._last
        if last is None:
            return View()
        ended, on_time = sum(last.ended.values()), last.ended.get(Outcome.ON_TIME, 0)
        took_ms = [took for *_, took in self._recent if took is not None]
        p50, p95 = np.percentile(took_ms, (50, 95)).tolist() if took_ms else (None, None)
        return View(
            run=last.run,
            policy=last.policy,
            elapsed_s=last.elapsed_s,
            duration_s=last.duration_s,
            issued=last.issued,
            ended={outcome.value: last.ended.get(outcome, 0) for outcome in Outcome},
            success=on_time / ended if ended else None,
            success_recent=sum(good for _, good, _ in self._recent) / len(self._recent) if self._recent else None,
            completion_p50_ms=p50,
            completion_p95_ms=p95,
            links=list(self._links.values()),
            edges=[
                EdgeNow(name, max(0.0, backlog_s), self._jobs[name], self._on_time[name])
                for name, backlog_s in last.backlogs_s.items()
            ],
            history=[(second, *self._history[second]) for second in sorted(self._history)],
            earlier=list(self._earlier),
        )

    def _count(self, row: LedgerRow, now_s: float) -> None:
        good = row.outcome is Outcome.ON_TIME
        self._recent.append((now_s, good, row.completion_ms))
        second = math.floor(row.arrival_s)
        jobs, on_time = self._history.get(second, (0, 0))
        self._history[second] = (jobs + 1, on_time + good)
        if row.edge is not None:
            self._jobs[row.edge] += 1
            self._on_time[row.edge] += good

    def _set(self, rows: LinkRows) -> None:
        columns = (rows.a, rows.b, rows.direction, rows.bandwidth_bps, rows.delay_ms, rows.loss)
        for a, b, direction, bandwidth_bps, delay_ms, loss in zip(*columns, strict=True):
            start, end = (a, b) if direction == "up" else (b, a)
            self._links[start, end] = LinkNow(start, end, bandwidth_bps, delay_ms, loss)

    def _put_by(self) -> None:
        if last := self._last:
            on_time = last.ended.get(Outcome.ON_TIME, 0)
            self._earlier.append(Earlier(last.run, last.policy, last.issued, sum(last.ended.values()), on_time))
