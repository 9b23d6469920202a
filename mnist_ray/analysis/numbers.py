"""Numbers as a person reads them, alike in sentences, on the page and on the terminal."""

from collections.abc import Mapping
from typing import Any

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
FEWEST = 3
"""Trials; a mean over fewer is marked, since its interval is hardly one."""


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many decimals; a dash where there is none. Zero has no sign."""
    if value is None:
        return DASH
    text = f"{value:.{digits}f}"
    return text.replace("-", MINUS if float(text) else "")


def counted(count: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def no_spread(row: Mapping[str, Any], n: int) -> str:
    """Says that a row has no interval because all of its `n` values are equal; else empty."""
    return f"no spread seen in n = {n}" if n > 1 and row["ci95_low"] is None else ""


def interval(row: Mapping[str, Any], n: int) -> str:
    """The 95 % interval of a row's mean over `n` values, or why there is none."""
    if row["ci95_low"] is None:
        return no_spread(row, n) or DASH
    return f"{number(row['ci95_low'])} to {number(row['ci95_high'])}"


def seconds_text(seconds: float) -> str:
    """Seconds with one decimal, and never none at all: `12.3`, `< 0.1`."""
    return f"{seconds:.1f}" if seconds >= 0.05 else "< 0.1"


def duration(seconds: float) -> str:
    """In units that matter: `48 s`, `2 min 03 s`, `48 min`, `3 h 05 min`, `48 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 600:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{round(seconds / 3600)} h"
