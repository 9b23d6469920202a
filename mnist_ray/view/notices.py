"""What stands at the top of the page, before any figure: what is still missing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mnist_ray.analysis.numbers import counted
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.ledger.record import Status
from mnist_ray.plan.trial import Trial
from mnist_ray.view.cell_views import CellView

_MOST_CELLS = 8
"""Cells that are named with what they lack."""


def notices(
    sweeps: Sequence[SweepResults],
    views: Sequence[CellView],
    *,
    reload_seconds: int | None = None,
) -> Iterator[dict[str, Any]]:
    """What each sweep still lacks, and the command that runs it; nothing of complete ones.

    `views` are the cells of the report. Where `reload_seconds` is given, the sweeps still run, and
    the page reloads itself so often.
    """
    labels = {(view.results.sweep, view.results.cell_key): view.label for view in views}
    for results in sweeps:
        if results.missing:
            yield {
                # For screen readers.
                "title": f"What is missing in {results.name}",
                "text": f"{f'{results.name}: ' if len(sweeps) > 1 else ''}"
                f"{_what_is_missing(results, reload_seconds)}",
                "lacking": list(_lacking(results, labels)),
                "command": results.command if reload_seconds is None else "",
            }


def progress(results: SweepResults) -> str:
    """How far a sweep is: `7 of 12 trials are recorded, 1 of them failed`."""
    failed = _failed(results)
    recorded = len(results.wanted) - len(results.missing) + failed
    more = f", {failed:,} of them failed" if failed else ""
    are = "is" if recorded == 1 else "are"
    return f"{recorded:,} of {_wanted(results)} {are} recorded{more}"


def _what_is_missing(results: SweepResults, reload_seconds: int | None) -> str:
    if reload_seconds is not None:
        return (
            f"This sweep is being watched: {progress(results)}. The page is made anew when there "
            f"is something new, and reloads itself every {reload_seconds} s."
        )
    failed = _failed(results)
    lacking = len(results.missing) - failed
    parts = [f"{lacking:,} {_have(lacking)} not run to the end yet"] if lacking else []
    parts += [f"{failed:,} {_have(failed)} failed"] if failed else []
    how = "This command runs" if results.command else "The command that began the sweep runs"
    return f"Of {_wanted(results)}, {' and '.join(parts)}. {how} what is missing, and nothing else."


def _failed(results: SweepResults) -> int:
    return len(results.records_of(results.missing, Status.FAILED))


def _wanted(results: SweepResults) -> str:
    """`12 trials`; `at least 12 trials` where more may be wanted."""
    at_least = "at least " if results.is_open else ""
    return f"{at_least}{counted(len(results.wanted), 'trial')}"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _lacking(results: SweepResults, labels: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """The cells with what they lack, those that lack most first."""

    def name(trial: Trial) -> str:
        searched = f"search of {trial.cell.architecture} on {trial.cell.variant}"
        return labels.get((results.name, trial.cell_key), searched)

    lacking = Counter(map(name, results.missing))
    wanted = Counter(map(name, results.wanted))
    for cell, count in lacking.most_common(_MOST_CELLS):
        yield f"{cell}: {count:,} of {counted(wanted[cell], 'trial')} to run"
    if len(lacking) > _MOST_CELLS:
        yield f"and {counted(len(lacking) - _MOST_CELLS, 'more cell')}"
