"""Numbers as a person reads them: means, intervals, durations, counts."""

from collections.abc import Mapping
from typing import Any

from mnist_ray.analysis.numbers import DASH, number

FEWEST = 3
"""Trials; a mean over fewer is marked, since its interval is hardly one."""


def has_no_spread(row: Mapping[str, Any], n: int) -> bool:
    """Whether a row of a table has no interval because all of its `n` values are equal."""
    return n > 1 and row["ci95_low"] is None


def interval(row: Mapping[str, Any], n: int) -> str:
    """The 95 % interval of a row's mean over `n` values, or why there is none."""
    if has_no_spread(row, n):
        return f"no spread seen in n = {n}"
    if row["ci95_low"] is None:
        return DASH
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


def first_letter(text: str) -> str:
    """`text` with a capital at its start, the rest as it is."""
    return text[:1].upper() + text[1:]
