"""How figures look, and how they are written: as SVG, the same bytes from the same data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#555555")
"""Colours that are told apart with any eyes (Okabe and Ito, 2008), then brown and grey."""

STYLE: dict[Any, Any] = {  # by matplotlib's names
    "svg.hashsalt": "testbed",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.markersize": 4,
}


@contextmanager
def figure(path: Path, panels: int = 1, width: float = 7.0, height: float = 4.2) -> Iterator[list[Axes]]:
    """Panels side by side, written to `path` at the end; inches."""
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(width, height), layout="constrained")
        axes = drawn.subplots(1, panels, squeeze=False)
        yield list(axes[0])
        drawn.savefig(path, format="svg", dpi=200, metadata={"Date": None})  # dpi: of what is rasterised in it


def plain_logarithmic(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 times the powers of ten of an axis that is logarithmic."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())
