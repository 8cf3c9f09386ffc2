"""Recorded rates, read into schedules: CSV, and the packet-delivery traces of mahimahi. Pure: text in, schedule out.

CSV: a header that names the columns, `time_s` and `bandwidth_bps`, and `delay_ms` and `loss` (a fraction) if they are
recorded too; then a row for each instant, from which its values hold. The first is at 0 s. Looped, it begins anew one
interval after the last row, as long as the one before it.

mahimahi: on each line the millisecond at which one packet of 1,504 bytes can be delivered. The rate is that of all the
packets in a window; one without packets gets the lowest bandwidth that a link may have. R. Netravali et al., Mahimahi:
Accurate Record-and-Replay for HTTP, USENIX ATC 2015.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from testbed.documents.errors import DocumentErrors, LocatedError
from testbed.documents.model import nearest, one_of, shown
from testbed.documents.resolved import LinkChange, Schedule
from testbed.documents.units import BANDWIDTH, DELAY, INSTANT

MAX_ROWS = 1_000_000
ENOUGH = 20
"""So many errors of a trace are told: what is wrong in one row is likely to be wrong in all."""

_PACKET_BITS = 1504 * 8
_WINDOW_MS = 100
_LAST_S = INSTANT.range[1]
_RATES = BANDWIDTH.range
_WHOLE = re.compile(r"[0-9]{1,20}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{0,30})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_COLUMNS = {
    "time_s": (0.0, _LAST_S),
    "bandwidth_bps": _RATES,
    "delay_ms": (0.0, DELAY.range[1] * 1e3),
    "loss": (0.0, 1.0),
}
_NEEDED = ("time_s", "bandwidth_bps")

Note = Callable[..., None]


def parse_trace(file: str, text: str, *, loop: bool = False, window_s: float | None = None) -> Schedule:
    """The schedule that a trace holds; which of the two kinds it is, its first line tells.

    Args:
        file: its name in errors.
        text: what it holds.
        loop: whether a CSV begins anew at its end.
        window_s: over how long mahimahi's packets are counted, a whole number of milliseconds.

    Raises:
        DocumentErrors: it is no trace; says where and why.
    """
    errors: list[LocatedError] = []

    def note(line: int, message: str, column: int = 1, field: str = "") -> None:
        errors.append(LocatedError(file, line, column, field, message))
        if len(errors) >= ENOUGH:
            raise DocumentErrors(errors)

    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    schedule = None
    if not lines:
        note(1, f"is empty, {_FORMS} is expected")
    elif len(lines) > MAX_ROWS + 1:
        note(MAX_ROWS + 2, f"has more than {MAX_ROWS:,} rows")
    elif _WHOLE.fullmatch(lines[0].strip()):
        schedule = _mahimahi(lines, round(window_s * 1e3) if window_s else _WINDOW_MS, note)
    else:
        if window_s is not None:
            note(1, "is a CSV, and `window` is for traces of mahimahi: leave it out of the topology")
        schedule = _csv(lines, loop, note)
    if errors or schedule is None:
        raise DocumentErrors(errors)
    return schedule


_FORMS = "a CSV with the header time_s,bandwidth_bps or a trace of mahimahi (one whole number of ms a line)"


def _csv(lines: list[str], loop: bool, note: Note) -> Schedule | None:
    header = [cell.strip() for cell in lines[0].split(",")]
    wrong = _wrong_header(header)
    if wrong:
        note(1, wrong)
        return None
    if len(lines) == 1:
        note(1, "has no rows, at least one is needed")
        return None
    at_s: list[float] = []
    changes: list[LinkChange] = []
    for number, line in enumerate(lines[1:], 2):
        row = dict(_cells(header, line, number, note))
        if len(row) < len(header):
            continue
        time_s = row["time_s"]
        if number == 2 and time_s != 0:
            note(number, f"the first time must be 0, found {time_s:g}: subtract it from all", field="time_s")
        if at_s and time_s <= at_s[-1]:
            note(number, f"{time_s:.12g} is not after {at_s[-1]:.12g}, the times must rise", field="time_s")
        at_s.append(time_s)
        delay_s = row["delay_ms"] / 1e3 if "delay_ms" in row else None
        changes.append(LinkChange(row["bandwidth_bps"], delay_s, loss=row.get("loss")))
    period_s = 2 * at_s[-1] - at_s[-2] if loop and len(at_s) > 1 else None
    return Schedule(tuple(at_s), tuple(changes), period_s)


def _wrong_header(header: list[str]) -> str | None:
    if not set(header) & set(_COLUMNS):
        return f"is no trace: {_FORMS} is expected, found {shown(','.join(header))}"
    for name in header:
        if name not in _COLUMNS:
            return f"unknown column {shown(name)}{nearest(name, _COLUMNS) or ','} allowed: {one_of(_COLUMNS)}"
        if header.count(name) > 1:
            return f"the column {name} is there twice"
    missing = [name for name in _NEEDED if name not in header]
    return f"has no column {one_of(missing)}" if missing else None


def _cells(header: list[str], line: str, number: int, note: Note) -> Iterator[tuple[str, float]]:
    cells = line.split(",")
    if len(cells) != len(header):
        note(number, f"has {len(cells)} values where the header has {len(header)} columns")
        return
    column = 1
    for name, cell in zip(header, cells, strict=True):
        text, (lowest, highest) = cell.strip(), _COLUMNS[name]
        value = float(text) if _NUMBER.fullmatch(text) else None
        if value is not None and lowest <= value <= highest:
            yield name, value
        else:
            what = f"{shown(text)} is not a number" if value is None else f"{shown(text)} is out of range"
            note(number, f"{what}, write {lowest:g} to {highest:g}", column, name)
        column += len(cell) + 1


def _mahimahi(lines: list[str], window_ms: int, note: Note) -> Schedule | None:
    instants: list[int] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        at_ms = int(text) if _WHOLE.fullmatch(text) else None
        if at_ms is None:
            note(number, f"{shown(text)} is not a whole number of milliseconds")
        elif at_ms > _LAST_S * 1e3:
            note(number, f"{at_ms} is out of range, write 0 to {_LAST_S * 1e3:.0f} ms")
        elif instants and at_ms < instants[-1]:
            note(number, f"{at_ms} is before {instants[-1]}, the times may not fall")
        else:
            instants.append(at_ms)
    if not instants or len(instants) < len(lines):
        return None
    period_ms = instants[-1]
    windows = -(-period_ms // window_ms)
    if not 0 < windows <= MAX_ROWS:
        many = f"has {windows:,} windows of {window_ms} ms, at most {MAX_ROWS:,} are allowed"
        note(len(lines), many if windows else "the last time must be more than 0, the trace begins anew then")
        return None
    packets = [0] * windows
    for at_ms in instants:  # a packet at the end of a window is its last: the trace's own end is its beginning anew
        packets[max(at_ms - 1, 0) // window_ms] += 1
    lowest, highest = _RATES
    rates = []
    for window, count in enumerate(packets):
        length_s = (min((window + 1) * window_ms, period_ms) - window * window_ms) / 1e3
        rates.append(max(count * _PACKET_BITS / length_s, lowest))
    if max(rates) > highest:
        begin_s = rates.index(max(rates)) * window_ms / 1e3
        note(
            1,
            f"gives {max(rates):.3g} bit/s from {begin_s:g} s on, at most {highest:g} is allowed: take a longer window",
        )
        return None
    at_s = tuple(window * window_ms / 1e3 for window in range(windows))
    return Schedule(at_s, tuple(LinkChange(rate) for rate in rates), period_ms / 1e3)
