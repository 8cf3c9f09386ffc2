"""Links in the terminal: what was asked of them beside what was measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from testbed.network.certify import CertificateEntry, misses
from testbed.network.intervals import Interval


def print_certificate(entries: Sequence[CertificateEntry]) -> None:
    """A row for each direction of each link, bursts and queues where one was measured; misses are told on stderr."""
    thorough = any(entry.measured.queue_bytes for entry in entries)
    table = Table(box=box.SIMPLE_HEAD, title="links: asked / measured", title_justify="left")
    table.add_column("link")
    more = ("lost in a row", "queue kB") if thorough else ()
    for heading in ("bandwidth Mbit/s", "delay ms", "jitter ms", "loss %", *more):
        table.add_column(heading, justify="right")
    table.add_column("")
    for entry in entries:
        start, end = entry.link if entry.direction == "up" else reversed(entry.link)
        asked, measured = entry.asked, entry.measured
        pairs = [
            _pair(asked.bandwidth_bps, measured.bandwidth_bps, 1e-6),
            _pair(asked.delay_ms, measured.delay_ms, 1),
            _pair(asked.jitter_ms, measured.jitter_ms, 1),
            _pair(asked.loss, measured.loss, 100),
        ]
        if thorough:
            pairs += [_pair(asked.burst, measured.burst, 1), _pair(asked.queue_bytes, measured.queue_bytes, 1e-3)]
        table.add_row(f"{start} > {end}", *pairs, "ok" if entry.ok else "MISS")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print_misses(entries)


def print_misses(entries: Sequence[CertificateEntry]) -> None:
    """What is not as it was asked, on stderr."""
    for miss in misses(entries):
        print(f"warning: {miss}", file=sys.stderr)


def _pair(asked: float | None, measured: Interval | None, scale: float) -> str:
    left = "-" if asked is None else f"{asked * scale:.3g}"
    right = "-" if measured is None else f"{measured.value * scale:.3g}"
    return f"{left} / {right}"
