"""What each search found, in a sentence."""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter

from mnist_ray.analysis import phrases
from mnist_ray.analysis.numbers import counted
from mnist_ray.analysis.settings import grouped
from mnist_ray.analysis.sweep_results import SweepResults, search_key
from mnist_ray.analysis.tables import SEARCH, WINNER_TO_DEFAULT, Row, Tables
from mnist_ray.ledger.record import Status
from mnist_ray.plan.search import SearchState, Stage
from mnist_ray.space.columns import SWEEP


def search_findings(sweeps: Iterable[SweepResults], tables: Tables) -> dict[str, str]:
    """A sentence on each search, by its `search_key`, in order; `tables` are those of `sweeps`."""
    rows = grouped(tables.rows("search"), itemgetter(SEARCH))
    return {
        key: _sentence(results, search, rows[key], tables)
        for results in sweeps
        for search in results.searches
        for key in [search_key(results.name, search)]
    }


def _sentence(
    results: SweepResults, search: SearchState, rows: Sequence[Row], tables: Tables
) -> str:
    stages = Counter(each.stage for each in search.configurations)
    images = phrases.images(results.dataset)
    place = f"search for {search.architecture} on {search.variant} {images}"
    sweep = phrases.sweep(rows[0])
    winner = next((row for row in rows if row["is_winner"]), None)
    if winner:
        default = next(row for row in rows if row["is_default"])
        start = f"{sweep}{'in' if sweep else 'In'} the {place} {_tried(stages)}"
        sentence = f"{start}; {_winner(winner, default)}.{_comparison(winner, tables)}"
        return f"{sentence}{_other_devices(rows, winner)}"
    start = f"{sweep}{'the' if sweep else 'The'} {place}"
    if stages[Stage.RUNNING] or not stages:
        return f"{start} has not ended and has no winner yet: {_so_far(stages)}."
    return f"{start} has no winner: {_lost(stages)}.{_first_error(results, search)}"


def _other_devices(rows: Iterable[Row], winner: Row) -> str:
    """That the scores of a search, or they and the fresh trials, are of different devices."""
    searched = sorted({row["search_device"] for row in rows if row["search_device"]})
    if len({*searched, winner["device"]} - {None}) < 2:
        return ""
    fresh = f", the fresh ones here on {winner['device']}" if winner["device"] else ""
    return f" The trials of the search ran on {' and '.join(searched)}{fresh}."


# How far the configurations have come

_ENDED_EARLY = {
    Stage.RACED_OUT: "raced out",
    Stage.CUT_SHORT: "cut short",
    Stage.FAILED: "failed",
}


def _tried(stages: Counter[Stage]) -> str:
    """How many configurations there were, and what became of those that were not completed."""
    verb = "was" if stages.total() == 1 else "were"
    return f"{_configurations(stages)} {verb} tried{_not_completed(stages)}"


def _so_far(stages: Counter[Stage]) -> str:
    of = f"{stages[Stage.COMPLETE]} of {_configurations(stages)} proposed so far"
    verb = "is" if stages[Stage.COMPLETE] == 1 else "are"
    return f"{of} {verb} complete{_not_completed(stages)}"


def _lost(stages: Counter[Stage]) -> str:
    if len(+stages) > 1:
        return _tried(stages)
    stage = next(iter(+stages))
    what = "its only configuration" if stages.total() == 1 else f"all {_configurations(stages)}"
    verb = "was " if stages.total() == 1 else "were "
    return f"{what} {verb if stage is Stage.CUT_SHORT else ''}{_ENDED_EARLY[stage]}"


def _configurations(stages: Counter[Stage]) -> str:
    return counted(stages.total(), "configuration")


def _not_completed(stages: Counter[Stage]) -> str:
    parts = [f"{stages[stage]} {words}" for stage, words in _ENDED_EARLY.items() if stages[stage]]
    return f" ({', '.join(parts)})" if parts else ""


# What the winner is worth


def _winner(winner: Row, default: Row) -> str:
    best = "the best, which is the default," if winner["is_default"] else "the best"
    start = f"{best} scored {winner['search_validation_accuracy']:.3f} in the search"
    if winner["confirm_validation_accuracy"] is None:
        return f"{start}, and no fresh trial of it has finished"
    afresh = (
        f"{start} and {winner['confirm_validation_accuracy']:.3f} afresh, "
        f"{_flattery(winner['optimism'])}its fresh test accuracy is {_fresh_mean(winner)}"
    )
    if winner["is_default"]:
        return afresh
    known = default["mean_test_accuracy"] is not None
    return f"{afresh}, that of the default {_fresh_mean(default) if known else 'not known yet'}"


def _flattery(optimism: float | None) -> str:
    if optimism is None:
        return ""
    # What three decimals would show as nothing is none.
    by = f"flattered it by {optimism:.3f}" if optimism >= 0.0005 else "did not flatter it"
    return f"so the search {by}; "


def _comparison(winner: Row, tables: Tables) -> str:
    """Whether the winner is better than the default, both measured afresh; one a device."""
    place = [winner.get(SWEEP.name), winner["architecture"], winner["variant"]]
    return "".join(
        f" {_which_is_better(row)}{phrases.device(row)}."
        for row in tables.comparisons.to_pylist()
        if row["kind"] == WINNER_TO_DEFAULT
        and [row.get(SWEEP.name), row["architecture_a"], row["variant_a"]] == place
    )


def _which_is_better(row: Row) -> str:
    """Where `a` is the winner and `b` the default."""
    if phrases.is_tie(row):
        return "The two are tied, equal in every trial"
    if row["ci95_low"] is None or phrases.holds_zero(row):
        size = phrases.difference(row)
        return f"No difference between them is shown: winner minus default is {size}"
    if row["mean_difference"] > 0:
        return f"The winner is better by {phrases.difference(row)}"
    return f"The default is better by {phrases.difference(row, sign=-1)}: keep it"


def _fresh_mean(row: Row) -> str:
    return phrases.mean({**row, "trials": row["confirm_trials"]})


def _first_error(results: SweepResults, search: SearchState) -> str:
    """That of the first configuration that failed, if any did."""
    trials = (trial for each in search.configurations for trial in each.trials)
    failed = results.records_of(trials, Status.FAILED)
    return f" The first error: {failed[0].error or 'no message'}" if failed else ""
