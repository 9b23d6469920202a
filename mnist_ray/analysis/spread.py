"""Where the spread of a cell comes from: the rows of the table spread, and what they show."""

from collections.abc import Iterator, Sequence
from operator import itemgetter

from mnist_ray.analysis import phrases
from mnist_ray.analysis.numbers import DASH, number
from mnist_ray.analysis.settings import grouped
from mnist_ray.analysis.sweep_results import CellResults, CellSpread, SweepResults
from mnist_ray.analysis.tables import CELL, Identity, Row, Tables
from mnist_ray.space.sources import Source
from mnist_ray.stats.summary import summarize
from mnist_ray.stats.variance import Share, VarianceShares, variance_shares

ALL = "all"
"""In place of a source: the ordinary trials, in which all sources but the sample vary."""

IN_WORDS = {
    ALL: "all together",
    Source.WEIGHTS: "the initial weights",
    Source.SHUFFLING: "the order of the images",
    Source.PLACEMENT: "the placement of the images",
    Source.DROPOUT: "dropout",
    Source.SAMPLE: "the training sample",
}
_MOST = 0.5
"""The share of variance above which a source has most of it."""
_LARGEST_IN = 0.975
"""The share of the resamples in which a source must be the largest to be called so.
docs/statistics.md says how often that is wrong.
"""
_LEAST_TRIALS = 10
"""With fewer, the interval of a share spans more than a factor of ten."""


def spread_rows(results: SweepResults, identity: Identity) -> Iterator[Row]:
    """The rows of spread.parquet: of each cell one for all sources together, and one for each."""
    for spread in results.spreads:
        cell = spread.ordinary
        of_cell = {"device": cell.device, CELL: cell.key, **identity(cell.cell)}
        shares = _shares(spread)
        is_whole = all(len(each.accuracies) > 1 for each in spread.varied.values())
        together = shares.together if shares and is_whole else None
        yield {"source": ALL, **_trial_columns(cell), **_remainder_columns(together), **of_cell}
        for source, each in spread.varied.items():
            share = shares.sources.get(source.value) if shares else None
            yield {"source": source, **_trial_columns(each), **_share_columns(share), **of_cell}


def _shares(spread: CellSpread) -> VarianceShares | None:
    known = {source.value: each.accuracies for source, each in spread.varied.items()}
    return variance_shares(
        spread.ordinary.accuracies,
        {source: accuracies for source, accuracies in known.items() if len(accuracies) > 1},
        summed=frozenset(known) - {Source.SAMPLE.value},
    )


def _trial_columns(each: CellResults) -> Row:
    known = summarize([*each.accuracies.values()])
    return {
        "trials": known.n,
        "failed": len(each.failed),
        "std_test_accuracy": known.std,
        "std_ci95_low": known.std_ci95_low,
        "std_ci95_high": known.std_ci95_high,
    }


def _share_columns(share: Share | None) -> Row:
    if share is None:
        return {}
    return {
        "variance_share": share.value,
        "share_ci95_low": share.ci95_low,
        "share_ci95_high": share.ci95_high,
        "largest_rate": share.largest_rate,
    }


def _remainder_columns(together: Share | None) -> Row:
    if together is None:
        return {}
    low, high = together.ci95_low, together.ci95_high
    return {
        "remainder": 1 - together.value,
        "remainder_ci95_low": None if high is None else 1 - high,
        "remainder_ci95_high": None if low is None else 1 - low,
    }


def spread_findings(tables: Tables) -> Iterator[str]:
    """Where the spread of each cell comes from, as far as the intervals support it."""
    for together, *sources in grouped(tables.rows("spread"), itemgetter(CELL)).values():
        place = f"{phrases.cell(together)}{phrases.device(together)}"
        main = _largest_source(sources)
        if (together["remainder_ci95_high"] or 0.0) < 0:
            yield _not_adding_up(place, together, sources)
        elif main:
            words, sizes = IN_WORDS[main["source"]], _sizes(main, together)
            if _has_most(main):
                yield f"The spread of {place} comes mostly from {words}: {sizes}."
            elif main["largest_rate"] is not None:
                which = "Of the sources that ordinary trials vary"
                yield f"{which}, the largest spread of {place} comes from {words} alone: {sizes}."


def _largest_source(sources: Sequence[Row]) -> Row | None:
    """The one that ordinary trials vary; of several, the largest one in nearly all resamples."""
    varied = [row for row in sources if _adds(row)]
    if any(row["trials"] < _LEAST_TRIALS for row in varied):
        return None
    compared = [row for row in varied if row["share_ci95_low"] is not None]
    largest = max(compared, key=lambda row: float(row["variance_share"]), default=None)
    if largest is None or largest["largest_rate"] is None:
        return largest
    return largest if largest["largest_rate"] >= _LARGEST_IN else None


def _adds(row: Row) -> bool:
    return bool(row["source"] != Source.SAMPLE)


def _sizes(row: Row, together: Row) -> str:
    own, whole = row["std_test_accuracy"], together["std_test_accuracy"]
    low, high = row["share_ci95_low"], row["share_ci95_high"]
    return (
        f"a standard deviation of {own:.4f} beside {whole:.4f} of all together, "
        f"{percent(row['variance_share'])} of the variance (95 % CI {percent(low)} to "
        f"{percent(high)})"
    )


def _not_adding_up(place: str, together: Row, sources: Sequence[Row]) -> str:
    low, high = together["remainder_ci95_low"], together["remainder_ci95_high"]
    large = [IN_WORDS[row["source"]] for row in sources if _adds(row) and _has_most(row)]
    each = f"; each of {', '.join(large)} alone has more than half of it" if large[1:] else ""
    return (
        f"The sources of the spread of {place} do not add up: varied alone, they have together "
        f"{percent(1 - together['remainder'])} of the variance (95 % CI {percent(1 - high)} to "
        f"{percent(1 - low)}){each}."
    )


def _has_most(row: Row) -> bool:
    return row["share_ci95_low"] is not None and row["share_ci95_low"] > _MOST


def percent(share: float | None) -> str:
    """A share as a person reads it; a dash where there is none."""
    return DASH if share is None else f"{number(100 * share, 0)} %"
