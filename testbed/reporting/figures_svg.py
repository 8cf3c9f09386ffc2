"""Figures as SVG written by hand: text stays text, colours are the page's, and every name is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

Values = NDArray[np.float64]
Truths = NDArray[np.bool_]

WIDTH = 760.0
"""Of a figure, in its own pixels; the page scales it."""
_SERIES = ("k2", "k4", "k7", "k1", "k8", "k3", "k5", "k6", "k0")
_TICK = 5.0


class Drawing(msgspec.Struct, frozen=True):
    """A figure as the page shows it; the legend pairs the class of a colour with what has it."""

    name: str  # unique on the page
    svg: Markup
    caption: str
    legend: tuple[tuple[str, str], ...] = ()


def series(number: int) -> str:
    """The class of the colour of one of several, the plainest first; the page has nine."""
    return _SERIES[number % len(_SERIES)]


class Box(msgspec.Struct, frozen=True):
    """Where a panel lies, in pixels from the figure's upper left corner."""

    left: float
    top: float
    width: float
    height: float


class Scale(Protocol):
    """An axis: where values lie on it, from 0 to 1, and its ticks with their texts."""

    def share(self, values: Values) -> Values:
        """Where values lie."""
        ...

    def ticks(self) -> list[tuple[float, str]]:
        """Values, rising, with their texts."""
        ...


class Linear(msgspec.Struct, frozen=True):
    """A linear axis."""

    low: float
    high: float
    factor: float = 1.0  # from values to what the ticks say

    def share(self, values: Values) -> Values:
        """Where values lie."""
        return (values - self.low) / ((self.high - self.low) or 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Some five round values."""
        span = (self.high - self.low) * self.factor or 1.0
        step = 10 ** math.floor(math.log10(span / 4))
        step = next(step * times for times in (1, 2, 5, 10) if span / (step * times) <= 6)
        first, last = math.ceil(self.low * self.factor / step - 1e-9), math.floor(self.high * self.factor / step + 1e-9)
        return [(number * step / self.factor, f"{number * step:,g}") for number in range(first, last + 1)]


class Untold(msgspec.Struct, frozen=True):
    """A linear axis without ticks, such as that of rows with names of their own."""

    low: float
    high: float

    def share(self, values: Values) -> Values:
        """Where values lie."""
        return (values - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """None."""
        return []


class Logarithmic(msgspec.Struct, frozen=True):
    """A logarithmic axis of positive values."""

    low: float
    high: float
    factor: float = 1.0  # from values to what the ticks say

    def share(self, values: Values) -> Values:
        """Where values lie."""
        shares: Values = np.log(np.maximum(values, self.low) / self.low) / (math.log(self.high / self.low) or 1.0)
        return shares

    def ticks(self) -> list[tuple[float, str]]:
        """1, 2 and 5 times the powers of ten, or the powers alone where there are many."""
        low, high = self.low * self.factor * (1 - 1e-9), self.high * self.factor * (1 + 1e-9)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for times in ((1, 2, 5), (1, 3), (1,)):
            found = [time * 10.0**power for power in powers for time in times if low <= time * 10.0**power <= high]
            if len(found) <= 8:
                break
        return [(value / self.factor, f"{value:,g}") for value in found]


def logarithmic(values: Iterable[float], factor: float = 1.0) -> Logarithmic:
    """An axis on which all positive ones among the values lie, and that spans a factor of five at least."""
    positive = [value for value in values if 0 < value < math.inf] or [1.0]
    low, high = min(positive) / 1.15, max(positive) * 1.15
    widen = max(1.0, math.sqrt(5 * low / high))
    return Logarithmic(low / widen, high * widen, factor)


def tag(element: str, *content: str, **attributes: object) -> Markup:
    """An element; text and attributes are escaped, `class_` is class, and other underscores are hyphens."""
    pairs = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{element}{pairs}>{''.join(str(escape(part)) for part in content)}</{element}>")


def svg(name: str, height: float, parts: Iterable[Markup], title: str, description: str) -> Markup:
    """A whole figure with its accessible title and description."""
    return tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", description, id=f"{name}-description"),
        *parts,
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-description",
    )


def text(x: float, y: float, words: str, anchor: str = "start", class_: str | None = None, **more: object) -> Markup:
    """A line of text."""
    return tag("text", words, x=x, y=y, text_anchor=anchor, class_=class_, **more)


class Panel:
    """One pair of axes, and what is drawn in them."""

    def __init__(self, box: Box, x: Scale, y: Scale) -> None:
        self.parts: list[Markup] = []
        self._box, self._x, self._y = box, x, y

    def axes(self, x_label: str | None, y_label: str | None) -> None:
        """Grid, ticks and labels; without a label the ticks have no texts either, as those of the next panel serve."""
        box = self._box
        bottom, right = box.top + box.height, box.left + box.width
        for value, words in self._x.ticks():
            x = self._at_x(value)
            self._add("line", x1=x, x2=x, y1=box.top, y2=bottom, class_="grid")
            if x_label is not None:
                self.parts.append(text(x, bottom + 15, words, "middle"))
        for value, words in self._y.ticks():
            y = self._at_y(value)
            self._add("line", x1=box.left, x2=right, y1=y, y2=y, class_="grid")
            if y_label is not None:
                self.parts.append(text(box.left - _TICK, y + 4, words, "end"))
        if x_label is not None:
            self.parts.append(text(box.left + box.width / 2, bottom + 32, x_label, "middle"))
        if y_label is not None:
            self.parts.append(text(box.left - 48, box.top - 10, y_label, class_="label"))

    def line(self, x: Values, y: Values, colour: str, title: str, *, steps: bool = False) -> None:
        """A line, broken where y is no number; steps hold each value until the next x."""
        known = np.isfinite(y)
        pieces = np.split(np.arange(len(x)), np.flatnonzero(np.diff(known)) + 1)
        path = "".join(self._path(x[piece], y[piece], steps) for piece in pieces if len(piece) and known[piece[0]])
        self._add("path", tag("title", title), d=path, class_=f"mark line {colour}")

    def band(self, x: Values, low: Values, high: Values, colour: str) -> None:
        """What lies between two lines."""
        known = np.isfinite(low) & np.isfinite(high)
        if known.sum() > 1:
            there = self._path(x[known], high[known], False)
            back = self._path(x[known][::-1], low[known][::-1], False)
            self._add("path", d=f"{there}L{back[1:]}Z", class_=f"band {colour}")

    def dot(
        self, x: float, y: float, colour: str, title: str, y_range: Sequence[float] = (), x_range: Sequence[float] = ()
    ) -> None:
        """A point, with its interval in either direction if there is one."""
        at_x, at_y = self._at_x(x), self._at_y(y)
        if y_range:
            low, high = (self._at_y(value) for value in y_range)
            self._add("line", x1=at_x, x2=at_x, y1=low, y2=high, class_=f"line {colour}")
        if x_range:
            low, high = (self._at_x(value) for value in x_range)
            self._add("line", x1=low, x2=high, y1=at_y, y2=at_y, class_=f"line {colour}")
        self._add("circle", tag("title", title), cx=at_x, cy=at_y, r=4.5, class_=f"mark fill {colour}")

    def beside(self, x: float, y: float, words: str) -> None:
        """A text beside a point, on the side where there is room."""
        at_x = self._at_x(x)
        inner = at_x < self._box.left + 0.7 * self._box.width
        self.parts.append(text(at_x + (8 if inner else -8), self._at_y(y) - 6, words, "start" if inner else "end"))

    def bar(self, x0: float, x1: float, y0: float, y1: float, colour: str, title: str) -> None:
        """A filled rectangle between two corners."""
        left, right, top, bottom = self._at_x(x0), self._at_x(x1), self._at_y(y0), self._at_y(y1)
        size = {"x": left, "y": min(top, bottom), "width": right - left, "height": abs(bottom - top)}
        self._add("rect", tag("title", title), **size, class_=f"mark fill {colour}")

    def at(self, x: float, words: str | None = None) -> None:
        """A vertical line, such as a deadline or an event, with what it is."""
        at_x, box = self._at_x(x), self._box
        self._add("line", x1=at_x, x2=at_x, y1=box.top, y2=box.top + box.height, class_="instant")
        if words:
            self.parts.append(text(at_x + 4, box.top + box.height - 6, words, class_="note halo"))

    def _add(self, element: str, *content: str, **attributes: object) -> None:
        self.parts.append(tag(element, *content, **attributes))

    def _at_x(self, value: float) -> float:
        return float(self._xs(np.array([value]))[0])

    def _at_y(self, value: float) -> float:
        return float(self._ys(np.array([value]))[0])

    def _xs(self, values: Values) -> Values:
        return self._box.left + self._box.width * np.clip(self._x.share(values), 0, 1)

    def _ys(self, values: Values) -> Values:
        return self._box.top + self._box.height * (1 - np.clip(self._y.share(values), 0, 1))

    def _path(self, x: Values, y: Values, steps: bool) -> str:
        pairs = list(zip(self._xs(x).tolist(), self._ys(y).tolist(), strict=True))
        if not steps:
            return "M" + "L".join(f"{at_x:.1f} {at_y:.1f}" for at_x, at_y in pairs)
        (first_x, first_y), *rest = pairs
        return f"M{first_x:.1f} {first_y:.1f}" + "".join(f"H{at_x:.1f}V{at_y:.1f}" for at_x, at_y in rest)


def _number(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
