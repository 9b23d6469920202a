"""Tests of `mnist_ray.analysis.grids` and of what is said of them."""

from collections.abc import Callable

import numpy as np
import pytest
from made_up import MadeUp, as_failed, made_up_record, made_up_sweep, made_up_test_set, on_device

from mnist_ray.analysis.grids import Grid, grid_sentences, grids
from mnist_ray.plan.planner import plan
from mnist_ray.plan.trial import Trial

RATES, DROPOUTS = [0.01, 0.001], [0.5, 0.0, 0.25]


def grid_of(accuracy: Callable[[float, float, int], float]) -> MadeUp:
    """A grid of 2 learning rates and 3 dropouts whose trials have these accuracies."""
    sweep = made_up_sweep(
        {
            "architectures": {"cnn": {"dropout": {"grid_search": DROPOUTS}}},
            "variants": {"centered": {}},
            "training": {"learning_rate": {"grid_search": RATES}, "epochs": 1},
        },
        test_set=made_up_test_set(1000),
    )
    for trial in plan(sweep.space, sweep.dataset_info, sweep.records).wanted:
        value = accuracy(*settings(trial), trial.index)
        rng = np.random.default_rng(0)
        sweep.records[trial.key] = made_up_record(trial, value, test_set=sweep.test_set, rng=rng)
    return sweep


def settings(trial: Trial) -> tuple[float, float]:
    dropout = trial.cell.hyperparameters["dropout"]
    assert isinstance(dropout, float)
    return trial.cell.training.learning_rate, dropout


def only_grid(sweep: MadeUp) -> Grid:
    (grid,) = grids(sweep.results())
    return grid


def additive(rate: float, dropout: float, trial: int) -> float:
    return 0.9 + (rate == 0.001) * (0.03 + 0.002 * trial) - 0.1 * dropout + 0.01 * trial


def test_marginal_means_are_over_the_other_values_with_intervals_over_trials() -> None:
    dropout, rate = only_grid(grid_of(additive)).factors
    # Numbers stand in their order, whatever that of the file is.
    assert (dropout.name, list(dropout.values)) == ("dropout", [0.0, 0.25, 0.5])
    assert (rate.name, list(rate.values)) == ("learning_rate", [0.001, 0.01])
    means = [level.mean.mean for level in rate.levels]
    assert means == pytest.approx([0.9 - 0.025 + 0.01 + 0.032, 0.9 - 0.025 + 0.01], abs=1e-9)
    # Within trials the worse rate is below by 0.030, 0.032 and 0.034: t(2) * 0.002 / sqrt(3).
    below = rate.levels[1].to_best
    assert below.mean == pytest.approx(-0.032)
    assert below.ci95_high == pytest.approx(-0.032 + 4.302653 * 0.002 / 3**0.5, abs=1e-6)


def test_effects_that_add_up_are_not_said_to_interact() -> None:
    grid = only_grid(grid_of(additive))
    assert not grid.pairs[0].interacts
    assert any("No interaction of dropout and learning_rate" in s for s in grid_sentences(grid))


def test_an_interaction_is_named_with_the_cell_that_departs_most() -> None:
    def interacting(rate: float, dropout: float, trial: int) -> float:
        noise = 0.001 * ((trial * 7 + round(dropout * 8) + round(rate * 1000)) % 3)
        return additive(rate, dropout, trial) - 0.06 * (rate == 0.01 and dropout == 0.5) + noise

    grid = only_grid(grid_of(interacting))
    assert grid.pairs[0].interacts
    sentence = next(s for s in grid_sentences(grid) if "interact (F(2, 4)" in s)
    # -0.06 without the means of its row and its column: times (1 - 1/3) (1 - 1/2).
    assert "dropout=0.5 with learning_rate=0.0" in sentence
    assert "is 0.02" in sentence
    assert abs(grid.pairs[0].interaction.effects[2, 1]) == pytest.approx(0.02, abs=0.001)  # type: ignore[union-attr]


def test_the_heat_map_has_the_means_of_the_cells() -> None:
    pair = only_grid(grid_of(additive)).pairs[0]
    assert pair.means[0] == pytest.approx([0.942, 0.91])
    assert pair.means[:, 1] == pytest.approx([0.91, 0.885, 0.86])


def test_only_trials_that_finished_in_every_cell_count_for_marginal_means() -> None:
    sweep = grid_of(additive)
    last = next(key for key, record in sweep.records.items() if record.trial == 2)
    sweep.records[last] = as_failed(sweep.records[last])
    assert only_grid(sweep).trials == 2


def test_a_cell_without_trials_leaves_a_gap_and_no_marginal_means() -> None:
    sweep = grid_of(additive)
    gone = next(iter(sweep.records.values())).cell_key
    sweep.records.update(
        {key: as_failed(r) for key, r in sweep.records.items() if r.cell_key == gone}
    )
    grid = only_grid(sweep)
    assert np.isnan(grid.pairs[0].means).sum() == 1
    assert all(not factor.levels for factor in grid.factors)
    assert any("No trial has finished in every cell" in s for s in grid_sentences(grid))


def test_devices_are_not_pooled() -> None:
    sweep = grid_of(additive)
    for key, record in sweep.records.items():
        if record.trial:
            sweep.records[key] = on_device(record, "NVIDIA H200")
    found = list(grids(sweep.results()))
    assert sorted((grid.cells[0].device, grid.trials) for grid in found) == [
        ("CPU", 1),
        ("NVIDIA H200", 2),
    ]


def test_a_sweep_without_a_grid_has_none() -> None:
    assert list(grids(made_up_sweep().results())) == []
