"""Tests of `mnist_ray.analysis.comparisons`: which cells are compared, and how."""

from collections.abc import Mapping, Sequence

import pandas as pd
import pytest
from made_up import ACCURACIES, MadeUp, as_failed, made_up_sweep, on_device
from scipy import stats

PAIRED = {
    ("feed_forward", "centered"): [0.96, 0.97, 0.955, 0.965],
    ("feed_forward", "shifted"): [0.87, 0.89, 0.86, 0.875],
    ("cnn", "centered"): [0.98, 0.985, 0.975, 0.98],
    ("cnn", "shifted"): [0.95, 0.96, 0.945, 0.955],
}


def comparisons_of(sweep: MadeUp) -> pd.DataFrame:
    tables = sweep.tables()
    return tables.comparisons.to_pandas()


def sweep_of(
    changes: Mapping[str, object],
    accuracies: Mapping[tuple[str, str], Sequence[float]] | float = 0.9,
) -> MadeUp:
    return made_up_sweep({"trials": 4, **changes}, accuracies=accuracies)


def test_the_usual_cells_have_two_drops_and_two_differences_of_architectures() -> None:
    rows = comparisons_of(sweep_of({}))
    columns = ["kind", "architecture_a", "variant_a", "architecture_b", "variant_b"]
    assert rows[columns].to_numpy().tolist() == [
        ["drop", "feed_forward", "centered", "feed_forward", "shifted"],
        ["drop", "cnn", "centered", "cnn", "shifted"],
        ["architecture", "feed_forward", "centered", "cnn", "centered"],
        ["architecture", "feed_forward", "shifted", "cnn", "shifted"],
    ]


def test_equal_trials_are_compared_in_pairs_as_scipy_does() -> None:
    row = comparisons_of(sweep_of({}, PAIRED)).iloc[0]
    a, b = PAIRED["feed_forward", "centered"], PAIRED["feed_forward", "shifted"]
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval()
    assert row["test"] == "paired t"
    assert row["mean_difference"] == pytest.approx(0.08875)
    assert row["p_value"] == pytest.approx(expected.pvalue)
    assert (row["ci95_low"], row["ci95_high"]) == pytest.approx((interval.low, interval.high))
    assert row["correlation"] == pytest.approx(stats.pearsonr(a, b).statistic)
    assert row["wilcoxon_p_value"] == pytest.approx(0.125)
    assert row["probability_of_superiority"] == 1.0


def test_different_trials_are_compared_by_welch() -> None:
    sweep = sweep_of({}, PAIRED)
    key = next(iter(sweep.records))
    sweep.records[key] = as_failed(sweep.records[key])
    row = comparisons_of(sweep).iloc[0]
    a, b = PAIRED["feed_forward", "centered"][1:], PAIRED["feed_forward", "shifted"]
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert (row["trials_a"], row["trials_b"]) == (3, 4)
    assert row["test"] == "Welch"
    assert row["p_value"] == pytest.approx(expected.pvalue)
    assert pd.isna(row["wilcoxon_p_value"])


def test_holm_corrects_over_all_comparisons_of_the_sweep() -> None:
    rows = comparisons_of(sweep_of({}, PAIRED)).sort_values("p_value")
    smallest = rows.iloc[0]
    assert smallest["p_value_holm"] == pytest.approx(4 * smallest["p_value"])
    assert rows["p_value_holm"].is_monotonic_increasing


def test_a_drop_is_from_the_centre_whatever_the_order_of_the_variants() -> None:
    rows = comparisons_of(sweep_of({"variants": {"shifted": {"shift": 4}, "centered": {}}}))
    drops = rows[rows["kind"] == "drop"]
    assert drops["variant_a"].tolist() == ["centered", "centered"]


def test_every_shifted_variant_is_held_against_every_centered_one() -> None:
    variants = {"small": {}, "large": {"canvas": 16}, "a": {"shift": 4}, "b": {"shift": 6}}
    rows = comparisons_of(sweep_of({"architectures": {"cnn": {}}, "variants": variants}))
    pairs = rows.groupby("kind")[["variant_a", "variant_b"]].apply(lambda g: g.values.tolist())
    assert pairs["drop"] == [
        ["small", "a"],
        ["small", "b"],
        ["large", "a"],
        ["large", "b"],
    ]
    assert pairs["canvas"] == [["small", "large"]]
    assert pairs["shift"] == [["a", "b"]]


def test_cells_of_a_grid_are_compared_where_they_differ_in_one_thing() -> None:
    rows = comparisons_of(
        sweep_of(
            {
                "architectures": {"cnn": {"dropout": {"grid_search": [0.0, 0.5]}}},
                "variants": {"centered": {}},
                "training": {"learning_rate": {"grid_search": [1e-3, 1e-2]}},
            }
        )
    )
    columns = ["kind", "dropout_a", "learning_rate_a", "dropout_b", "learning_rate_b"]
    assert rows[columns].to_numpy().tolist() == [
        ["dropout", 0.0, 0.001, 0.5, 0.001],
        ["dropout", 0.0, 0.01, 0.5, 0.01],
        ["learning_rate", 0.0, 0.001, 0.0, 0.01],
        ["learning_rate", 0.5, 0.001, 0.5, 0.01],
    ]


def test_architectures_are_compared_at_equal_values_of_what_a_grid_varies_in_both() -> None:
    grid = {"dropout": {"grid_search": [0.0, 0.5]}}
    rows = comparisons_of(
        sweep_of(
            {
                "architectures": {"feed_forward": grid, "cnn": grid},
                "variants": {"centered": {}},
            }
        )
    )
    between = rows[rows["kind"] == "architecture"]
    assert between[["dropout_a", "dropout_b"]].to_numpy().tolist() == [[0.0, 0.0], [0.5, 0.5]]


def test_different_devices_are_not_compared() -> None:
    sweep = sweep_of({"architectures": {"cnn": {}}})
    for key, record in sweep.records.items():
        if record.variant == "shifted":
            sweep.records[key] = on_device(record, "NVIDIA H200")
    assert comparisons_of(sweep).empty


def test_cells_without_finished_trials_are_not_compared() -> None:
    sweep = sweep_of({"architectures": {"cnn": {}}})
    for key, record in sweep.records.items():
        if record.variant == "shifted":
            sweep.records[key] = as_failed(record)
    assert comparisons_of(sweep).empty


def test_one_trial_each_gives_a_difference_without_interval() -> None:
    row = comparisons_of(made_up_sweep({"trials": 1}, accuracies=ACCURACIES)).iloc[0]
    assert row["mean_difference"] > 0
    assert row[["ci95_low", "ci95_high", "p_value", "p_value_holm"]].isna().all()


def test_a_difference_that_replication_goes_on_for_has_the_interval_of_the_rule() -> None:
    goal = {
        "trials": {"at_least": 4, "at_most": 20},
        "until": {"difference": ["feed_forward", "cnn"], "ci95": 0.2},
    }
    rows = comparisons_of(made_up_sweep(goal, accuracies=PAIRED, trials=4))
    between = rows[rows["kind"] == "architecture"].iloc[0]
    a, b = PAIRED["feed_forward", "centered"], PAIRED["cnn", "centered"]
    plain = stats.ttest_rel(a, b).confidence_interval()
    assert between["ci95_low"] < plain.low
    assert between["ci95_high"] > plain.high
