"""Recorded arrivals: a CSV of times, of one device each or of all. Pure: text in, times out.

The header names the columns: `time_s`, seconds from the run's start, and `device` where each device has arrivals of its
own. The rows may come in any order; one instant may stand twice.
"""

from __future__ import annotations

import re

from testbed.documents.errors import DocumentErrors, LocatedError
from testbed.documents.model import one_of, shown
from testbed.documents.traces import ENOUGH, MAX_ROWS
from testbed.documents.units import INSTANT

EVERY_DEVICE = "*"
"""The pattern of arrivals that name no device."""

_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{0,30})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_HEADERS = (["time_s"], ["time_s", "device"], ["device", "time_s"])


def parse_arrivals(file: str, text: str) -> dict[str, list[float]]:
    """The instants that a trace holds, in order, by device; `*` stands for every device.

    Raises:
        DocumentErrors: it is no trace; says where and why.
    """
    errors: list[LocatedError] = []
    lines = [line.removesuffix("\r") for line in text.rstrip().split("\n")]
    header = [cell.strip() for cell in lines[0].split(",")]
    if header not in _HEADERS:
        found = shown(lines[0]) if lines[0] else "nothing"
        text = f"the header must be {one_of([' or '.join(','.join(each) for each in _HEADERS[:2])])}, found {found}"
        raise DocumentErrors([LocatedError(file, 1, 1, "", text)])
    if len(lines) == 1 or len(lines) > MAX_ROWS + 1:
        text = "has no rows, at least one is needed" if len(lines) == 1 else f"has more than {MAX_ROWS:,} rows"
        raise DocumentErrors([LocatedError(file, min(len(lines), MAX_ROWS + 2), 1, "", text)])
    latest_s = INSTANT.range[1]
    times: dict[str, list[float]] = {}
    for number, line in enumerate(lines[1:], 2):
        cells = [cell.strip() for cell in line.split(",")]
        row = dict(zip(header, cells, strict=False))
        written = row.get("time_s", "")
        if len(cells) != len(header):
            problem = f"has {len(cells)} values where the header has {len(header)} columns"
        elif not _NUMBER.fullmatch(written) or float(written) > latest_s:
            problem = f"{shown(written)} is not a time, write seconds from 0 to {latest_s:g}"
        elif row.get("device") == "":
            problem = "names no device"
        else:
            times.setdefault(row.get("device", EVERY_DEVICE), []).append(float(written))
            continue
        errors.append(LocatedError(file, number, 1, "", problem))
        if len(errors) >= ENOUGH:
            break
    if errors:
        raise DocumentErrors(errors)
    return {device: sorted(instants) for device, instants in times.items()}
