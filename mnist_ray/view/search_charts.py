"""The chart of a search: every trial of its configurations, beside the winner and the default."""

from mnist_ray.analysis.numbers import number
from mnist_ray.analysis.sweep_results import Selection
from mnist_ray.plan.search import Configuration, Stage
from mnist_ray.stats.summary import summarize
from mnist_ray.view.cell_views import SearchView
from mnist_ray.view.forest_plot import MOST_ROWS, ChartRow, estimate, forest_plot, trial_dot
from mnist_ray.view.svg import Chart


def search_chart(search: SearchView, *, position: int) -> Chart | None:
    """What the winner and the default reached afresh, then every trial of the search.

    Configurations with the highest score come first, and those that cannot win have the colour of
    text. None before any trial has finished. `position` is that of the search on the page.
    """
    ranked = sorted(search.state.configurations, key=_rank)
    if not any(each.scores for each in ranked):
        return None
    shown = [
        each for rank, each in enumerate(ranked) if rank < MOST_ROWS or _is_default(search, each)
    ]
    fresh = [_fresh_row(search, selection) for selection, _ in search.measured]
    if not fresh and not any(_is_default(search, each) for each in shown):
        label = f"default: {search.drawn(search.state.default)}"
        text = "not run yet: it is trained beside the winner"
        fresh = [ChartRow(label, text, series=None, mean=None)]
    rows = [*fresh, *(_search_row(search, each) for each in shown)]
    numbers = f"Number: {' · '.join(search.columns)}"
    of_all = f" ({len(shown)} of {len(ranked)} configurations)"
    what = f"Validation accuracy of every trial in the search for {search.label}"
    return forest_plot(
        rows,
        name=f"search-{position}",
        caption=numbers + (of_all if len(shown) < len(ranked) else ""),
        what=f"{what}, by score ({numbers})",
        x_label="validation accuracy",
        reference=_default_mean(search),
    )


def _rank(configuration: Configuration) -> tuple[bool, float, int]:
    """Those that cannot win come last, then those without a score."""
    spoilt = configuration.stage in (Stage.FAILED, Stage.CUT_SHORT)
    return spoilt, -(configuration.mean or 0.0), configuration.number


def _fresh_row(search: SearchView, selection: Selection) -> ChartRow:
    scores = search.fresh_scores(selection)
    fresh = summarize(scores)
    return ChartRow(
        label=f"{selection}, afresh",
        text=f"{estimate(fresh.mean, vars(fresh), fresh.n)}, n = {fresh.n}",
        series=search.series,
        mean=fresh.mean,
        interval=(fresh.ci95_low, fresh.ci95_high),
        dots=[(score, "") for score in scores],
        n=fresh.n,
    )


def _is_default(search: SearchView, configuration: Configuration) -> bool:
    return configuration.cell.name == search.state.default.name


def _default_mean(search: SearchView) -> float | None:
    """Of the default's fresh trials; before there are any, of those in the search."""
    if search.state.winner:
        return summarize(search.fresh_scores(Selection.DEFAULT)).mean
    tried = (each.mean for each in search.state.configurations if _is_default(search, each))
    return next(tried, None)


def _search_row(search: SearchView, configuration: Configuration) -> ChartRow:
    is_winner = configuration is search.state.winner
    n = len(configuration.scores)
    facts = [
        *([number(configuration.mean), f"n = {n}"] if n else []),
        "winner" if is_winner else _STAGES[configuration.stage],
        "default" if _is_default(search, configuration) else "",
    ]
    can_win = configuration.stage in (Stage.COMPLETE, Stage.RUNNING)
    return ChartRow(
        label=f"{configuration.number}: {search.drawn(configuration.cell)}",
        text=", ".join(filter(None, facts)),
        series=search.series if can_win else None,
        mean=configuration.mean,
        dots=[
            trial_dot(search.results.records[trial.key], score)
            for trial, score in zip(configuration.trials, configuration.scores, strict=False)
        ],
        n=n,
    )


_STAGES = {
    Stage.COMPLETE: "",
    Stage.RUNNING: "not complete yet",
    Stage.RACED_OUT: "raced out",
    Stage.CUT_SHORT: "cut short",
    Stage.FAILED: "failed",
}
