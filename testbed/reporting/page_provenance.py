"""The tables of a page that tell what a run rests on: its links as measured, its bytes, its manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from testbed.network.certify import CertificateEntry
from testbed.network.intervals import Interval
from testbed.reporting.page_cells import MOST_ROWS, Cell, Table
from testbed.reporting.page_data import Shown
from testbed.reporting.page_words import ABSENT, percent, size

_MOST_DIFFERENCES = 60
_OF_THE_MOMENT = ("load_average", "events", "overruns", "cpu_busy", "clocks")
"""What no two runs share."""


def certificate_table(run: Shown) -> Table | None:
    """Every direction of every link, measured against what was asked; None where nothing was measured."""
    rows = [
        [
            Cell(when),
            Cell(_direction(entry.link, entry.direction)),
            *_measured(entry),
            Cell("ok" if entry.ok else entry.reason or "missed", bad=not entry.ok),
        ]
        for when, entries in (("before", run.proof.before), ("after", run.proof.after))
        for entry in entries
    ]
    if not rows:
        return None
    columns = ("when", "direction", "bandwidth, Mbit/s", "delay, ms", "jitter, ms", "loss, %", "")
    caption = "Asked / measured (interval); columns sort by what was measured."
    return _bounded(Table("certificate", caption, columns, rows, long=True))


def bytes_table(run: Shown) -> Table | None:
    """What the links carried beside what the run explains; None where it was not counted."""
    names = ("carried_bytes", "ledger_bytes", "retransmitted_bytes", "overhead_bytes", "unexplained_bytes")
    rows = []
    for one in run.proof.bytes:
        counts = [one.get(name) for name in names]
        bad = one.get("ok") is False
        rows.append(
            [
                Cell(_direction(one.get("link") or ("?", "?"), str(one.get("direction")))),
                *(Cell(size(count), count) for count in counts),
                Cell(str(one.get("reason") or ("ok" if one.get("ok") else ABSENT)), bad=bad),
            ]
        )
    if not rows:
        return None
    columns = ("direction", "carried", "in the ledger", "sent again", "headers", "unexplained", "")
    return _bounded(Table("bytes", "IP bytes of each direction, and what explains them.", columns, rows, long=True))


def made_from_table(run: Shown) -> Table:
    """The manifest in brief; the page has the whole beside it."""
    manifest = run.manifest
    workload, policy = manifest.get("workload") or {}, manifest.get("policy") or {}
    versions = manifest.get("versions") or {}
    options = ", ".join(f"{name}: {json.dumps(value)}" for name, value in (policy.get("options") or {}).items())
    said = {
        "folder": run.folder,
        "workload": workload.get("name"),
        "topology": (manifest.get("topology") or {}).get("name"),
        "policy": f"{policy.get('name', ABSENT)}{f' ({options})' if options else ''}",
        "arrivals during": f"{run.summary.duration_s:g} s",
        "seed": manifest.get("seed"),
        "links shaped by": manifest.get("shaping"),
        "checkpoint": manifest.get("checkpoint_sha256"),
        "testbed": manifest.get("testbed"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "kernel": " ".join(str(manifest[name]) for name in ("kernel", "machine") if name in manifest),
        "cpus, load before": ", ".join(
            str(part) for part in (manifest.get("cpus"), *(manifest.get("load_average") or ())) if part is not None
        ),
        "paced computations overrun": manifest.get("overruns"),
        "CPUs busy": _busy(manifest.get("cpu_busy") or {}),
    }
    rows = [[Cell(name), Cell(str(value))] for name, value in said.items() if value not in (None, "")]
    return Table("made-from", "What the run was made from.", ("", ""), rows)


def machine_table(run: Shown) -> Table | None:
    """The machines of a testbed of several, and how their clocks stood; None where there was one."""
    clocks = run.manifest.get("clocks") or {}
    rows = []
    for name, facts in (run.manifest.get("machines") or {}).items():
        clock = clocks.get(name) or {}
        offset, error = (None if clock.get(part) is None else 1e3 * clock[part] for part in ("offset_s", "error_s"))
        nodes = facts.get("nodes") or ()
        rows.append(
            [
                Cell(name),
                Cell(str(facts.get("address", ABSENT))),
                Cell(f"{len(nodes)}: {', '.join(nodes)}", len(nodes)),
                Cell(" ".join(str(facts[part]) for part in ("kernel", "machine") if part in facts)),
                Cell(str(facts.get("cpus", ABSENT)), facts.get("cpus")),
                Cell(ABSENT if offset is None else f"{offset:.3f} ± {error or 0:.3f} ms", offset),
            ]
        )
    columns = ("machine", "address", "nodes", "kernel", "CPUs", "clock ahead")
    return Table("machines", "Machines; clocks against the driver's.", columns, rows) if rows else None


def event_table(run: Shown) -> Table | None:
    """The workload's events, and when they took effect; None without any."""
    rows = []
    for event in run.manifest.get("events") or []:
        at_s, applied_s = event.get("at_s"), event.get("applied_s")
        took = "never" if applied_s is None else f"{applied_s:.3f} s"
        rows.append([Cell(f"{at_s:g} s", at_s), Cell(took, applied_s), Cell(str(event.get("what", "")))])
    return Table("events", "Events as they happened.", ("at", "applied", "what"), rows, long=True) if rows else None


def difference_table(runs: Sequence[Shown]) -> Table | None:
    """Where the manifests differ, leaf by leaf; None where they do not."""
    leaves = [dict(_leaves(run.manifest)) for run in runs]
    names = list(dict.fromkeys(name for each in leaves for name in each))
    differing = [name for name in names if len({each.get(name) for each in leaves}) > 1]
    rows = [[Cell(name), *(Cell(each.get(name, ABSENT)) for each in leaves)] for name in differing[:_MOST_DIFFERENCES]]
    more = len(differing) - len(rows)
    caption = "Where the manifests differ" + (f"; {more} more do." if more else ".")
    columns = ("", *(run.label for run in runs))
    return Table("differences", caption, columns, rows, long=True) if rows else None


def _leaves(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if name or key not in _OF_THE_MOMENT:
                yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, json.dumps(value)


def _measured(entry: CertificateEntry) -> list[Cell]:
    asked, measured = entry.asked, entry.measured
    return [
        _pair(asked.bandwidth_bps, measured.bandwidth_bps, 1e-6),
        _pair(asked.delay_ms, measured.delay_ms, 1),
        _pair(asked.jitter_ms, measured.jitter_ms, 1),
        _pair(asked.loss, measured.loss, 100),
    ]


def _pair(asked: float | None, measured: Interval | None, scale: float) -> Cell:
    left = ABSENT if asked is None else f"{asked * scale:.3g}"
    if measured is None:
        return Cell(f"{left} / {ABSENT}")
    low, high = measured.low * scale, measured.high * scale
    words = f"{left} / {_brief(measured.value * scale)} ({_brief(low)}–{_brief(high)})"
    return Cell(words, measured.value * scale)


def _busy(machines: Mapping[str, Sequence[float]]) -> str:
    told = {
        name: f"{percent(sum(shares) / len(shares), 0)} on average, {percent(max(shares), 0)} at the most"
        for name, shares in machines.items()
        if shares
    }
    return "; ".join(f"{name}: {words}" if len(told) > 1 else words for name, words in told.items())


def _bounded(table: Table) -> Table:
    """The table, of many rows those first in which something is amiss."""
    if len(table.rows) <= MOST_ROWS:
        return table
    rows = sorted(table.rows, key=lambda row: not any(cell.bad for cell in row))[:MOST_ROWS]
    caption = f"{table.caption} {MOST_ROWS} of {len(table.rows)}, what is amiss first; certificate.json has all."
    return msgspec.structs.replace(table, caption=caption, rows=rows)


def _brief(figure: float) -> str:
    return f"{figure:.3g}" if abs(figure) >= 5e-4 else "0"


def _direction(link: Sequence[str], direction: str) -> str:
    start, end = link if direction == "up" else link[::-1]
    return f"{start} to {end}"
