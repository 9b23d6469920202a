"""What a grid says, in sentences."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mnist_ray.analysis import phrases
from mnist_ray.analysis.grids import Factor, FactorPair, Grid
from mnist_ray.stats.summary import Summary


def grid_sentences(grid: Grid) -> Iterator[str]:
    """The best value of each hyperparameter over all others, and which two interact."""
    if not grid.trials:
        yield "No trial has finished in every cell yet, so there are no means over the others."
        return
    for factor in grid.factors:
        yield _best(factor)
    for pair in grid.pairs:
        yield from _interaction(pair)


def _best(factor: Factor) -> str:
    best = factor.best
    shown = phrases.mean(_row(factor.levels[best].mean))
    sentence = f"{factor.setting(best)} has the highest mean over all other settings, {shown}"
    others = [position for position in range(len(factor.levels)) if position != best]
    second = max(others, key=lambda position: factor.levels[position].mean.mean or 0.0)
    below = phrases.difference(_row(factor.levels[second].to_best), sign=-1)
    return f"{sentence}; {factor.setting(second)} comes next, lower by {below}."


def _interaction(pair: FactorPair) -> Iterator[str]:
    found = pair.interaction
    if found is None:
        return
    names = f"{pair.rows.name} and {pair.columns.name}"
    p_value = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
    test = f"F({found.degrees[0]}, {found.degrees[1]}) = {found.statistic:.1f}, {p_value}"
    if not pair.interacts:
        yield f"No interaction of {names} is larger than its error ({test})."
        return
    row, column = np.unravel_index(int(np.argmax(np.abs(found.effects))), found.effects.shape)
    size = float(found.effects[row, column])
    side = "above" if size > 0 else "below"
    place = f"{pair.rows.setting(int(row))} with {pair.columns.setting(int(column))}"
    yield (
        f"{names} interact ({test}): the best value of one depends on the other, or how much it "
        f"matters does. {place} is {abs(size):.3f} {side} what their separate effects add up to."
    )


def _row(summary: Summary) -> dict[str, Any]:
    """A summary as a row of a table, which `phrases` takes."""
    n = summary.n
    counts = {"trials": n, "trials_a": n, "trials_b": n}
    means = {"mean_test_accuracy": summary.mean, "mean_difference": summary.mean}
    return {**vars(summary), **means, **counts}
