"""How the page says quantities."""

from __future__ import annotations

ABSENT = "–"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 in per cent."""
    return ABSENT if share is None else f"{100 * share:.{digits}f} %"


def interval(bounds: tuple[float, float] | None) -> str:
    """A range of shares in per cent."""
    return ABSENT if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"


def milliseconds(figure: float | None) -> str:
    """Milliseconds, with a decimal where they are few."""
    return ABSENT if figure is None else f"{figure:,.{0 if abs(figure) >= 100 else 1}f} ms"


def size(figure: float | None) -> str:
    """Bytes."""
    return ABSENT if figure is None else f"{figure:,.0f} B"


def rate(bits_per_s: float | None) -> str:
    """A bandwidth, as files say it."""
    if bits_per_s is None:
        return ABSENT
    for factor, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bits_per_s >= factor:
            return f"{bits_per_s / factor:.4g} {unit}"
    return f"{bits_per_s:.4g} bit/s"


def seconds(figure: float) -> str:
    """An instant of the run."""
    return f"{figure:g} s"


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
