"""How a mean, a difference and its uncertainty are written in a sentence."""

from collections.abc import Mapping
from typing import Any

from mnist_ray.analysis.numbers import DASH, counted, no_spread, number
from mnist_ray.space.columns import SWEEP

Row = Mapping[str, Any]

_DIGITS = {"mnist", "digits"}
_NOTHING = 1e-12
"""Far below the step of any accuracy k/N, above the rounding errors of a mean."""


def mean(cell: Row) -> str:
    """A mean test accuracy with its interval and n, from a row that has both."""
    n = cell["trials"]
    bounds = interval(cell)
    note = f"{bounds}, n = {n}" if bounds else no_spread(cell, n) or f"n = {n}"
    return f"{number(cell['mean_test_accuracy'], 3)} ({note})"


def interval(row: Row, *, sign: int = 1) -> str:
    """The 95 % interval of a row, for the difference in the other direction where `sign` is -1.

    Empty where there is none.
    """
    if row["ci95_low"] is None:
        return ""
    low, high = sorted((sign * row["ci95_low"], sign * row["ci95_high"]))
    # Three decimals would make a narrow interval look like none.
    digits = 4 if high - low < 0.004 else 3
    between = DASH if low >= 0 else " to "
    return f"95 % CI {number(low, digits)}{between}{number(high, digits)}"


def difference(row: Row, *, sign: int = 1) -> str:
    """A difference with its interval; what stands in place of an interval that there is not."""
    n = min(int(row["trials_a"]), int(row["trials_b"]))
    note = interval(row, sign=sign) or no_spread(row, n) or f"no interval: n = {n}"
    return f"{number(sign * row['mean_difference'], 3)} ({note})"


def observed(row: Row, *, sign: int = 1) -> str:
    """A difference without an interval: nothing shows how much of it is chance."""
    return f"observed difference {difference(row, sign=sign)}, which may be chance"


def is_tie(row: Row) -> bool:
    """Whether a comparison found no difference at all, in any trial."""
    return abs(row["mean_difference"]) < _NOTHING and row["ci95_low"] is None


def holds_zero(row: Row) -> bool:
    """Whether a difference has an interval, and 0 is in it."""
    low, high = row["ci95_low"], row["ci95_high"]
    return low is not None and low <= 0 <= high


def images(*datasets: str) -> str:
    """What images of these data sets are called: digits, where all of them are."""
    return "digits" if datasets and set(datasets) <= _DIGITS else "images"


def cell(row: Row) -> str:
    """Architecture and presentation, of which sweep."""
    return f"{sweep(row)}{row['architecture']} on {row['variant']} {images(row['dataset'])}"


def sweep(row: Row) -> str:
    """The sweep's name, where there are several side by side."""
    return f"{row[SWEEP.name]}, " if SWEEP.name in row else ""


def device(cell: Row) -> str:
    """The device, where it is a choice at all."""
    return "" if cell["device"] in ("CPU", None) else f" on {cell['device']}"


def first_letter(text: str) -> str:
    """`text` with a capital at its start, the rest as it is."""
    return text[:1].upper() + text[1:]


def unrequested(records: int, *, by: str) -> str:
    """That the ledger holds more than a space asks for."""
    one = records == 1
    return (
        f"{counted(records, 'record')} {'is' if one else 'are'} of "
        f"{'a trial' if one else 'trials'} that {by} does not ask for (any more); "
        f"{'it stays' if one else 'they stay'} in the ledger and out of the report."
    )
