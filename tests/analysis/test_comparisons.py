"""Tests of `mnist_ray.analysis.comparisons`: which cells are compared, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up import (
    ACCURACIES,
    MadeUp,
    as_failed,
    made_up_search,
    made_up_sweep,
    on_device,
)
from scipy import stats

from mnist_ray.analysis.tabulation import tabulate
from mnist_ray.ledger.record import Record
from mnist_ray.stats.sequential import precision_interval

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


def test_all_trials_count_and_those_that_both_have_in_pairs() -> None:
    sweep = sweep_of({}, PAIRED)
    key = next(iter(sweep.records))
    sweep.records[key] = as_failed(sweep.records[key])
    row = comparisons_of(sweep).iloc[0]
    a, b = PAIRED["feed_forward", "centered"][1:], PAIRED["feed_forward", "shifted"]
    assert (row["trials_a"], row["trials_b"], row["pairs"]) == (3, 4, 3)
    assert row["test"] == "partially overlapping t"
    assert row["mean_difference"] == pytest.approx(np.mean(a) - np.mean(b))
    # The published formula: see the tests of the statistics.
    v_a, v_b = np.var(a, ddof=1), np.var(b, ddof=1)
    correlation = stats.pearsonr(a, b[1:]).statistic
    error = (v_a / 3 + v_b / 4 - 2 * correlation * (v_a * v_b) ** 0.5 * 3 / 12) ** 0.5
    welch = (v_a / 3 + v_b / 4) ** 2 / ((v_a / 3) ** 2 / 2 + (v_b / 4) ** 2 / 3)
    half_width = stats.t.ppf(0.975, 2 + (welch - 2) / 7) * error
    assert row["ci95_high"] - row["mean_difference"] == pytest.approx(half_width)
    assert row["correlation"] == pytest.approx(correlation)
    assert row["wilcoxon_p_value"] == pytest.approx(stats.wilcoxon(a, b[1:]).pvalue)


def test_different_trials_are_compared_by_welch() -> None:
    sweep = sweep_of({}, PAIRED)
    for key, record in sweep.records.items():
        if record.architecture == "feed_forward" and (
            record.trial < 2 if record.variant == "centered" else record.trial >= 2
        ):
            sweep.records[key] = as_failed(record)
    row = comparisons_of(sweep).iloc[0]
    a, b = PAIRED["feed_forward", "centered"][2:], PAIRED["feed_forward", "shifted"][:2]
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert (row["trials_a"], row["trials_b"], row["pairs"]) == (2, 2, 0)
    assert row["test"] == "Welch"
    assert row["p_value"] == pytest.approx(expected.pvalue)
    assert pd.isna(row["wilcoxon_p_value"])


def test_equal_differences_have_no_interval() -> None:
    accuracies = {
        ("feed_forward", "centered"): [0.96, 0.97],
        ("feed_forward", "shifted"): [0.86, 0.87],
        ("cnn", "centered"): [0.98, 0.98],
        ("cnn", "shifted"): [0.95, 0.95],
    }
    rows = comparisons_of(made_up_sweep({"trials": 2}, accuracies=accuracies))
    drops = rows[rows["kind"] == "drop"]
    assert drops["mean_difference"].tolist() == pytest.approx([0.1, 0.03])
    assert drops[["ci95_low", "ci95_high", "p_value"]].isna().all(axis=None)


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


def test_arguments_of_an_optimizer_and_whole_optimizers_and_schedules_are_compared() -> None:
    cosine = {"schedule": "CosineDecay", "initial_learning_rate": 0.01, "decay_steps": "epoch"}
    decayed = {"name": "adamw", "weight_decay": 0.1}
    training = {
        "optimizer": {"grid_search": ["adamw", decayed, {"name": "sgd", "momentum": 0.9}]},
        "learning_rate": {"grid_search": [0.001, cosine, {**cosine, "decay_steps": "training"}]},
    }
    sections = {"architectures": {"feed_forward": {}}, "variants": {"centered": {}}}
    rows = comparisons_of(made_up_sweep({**sections, "training": training}, accuracies=0.9))
    assert rows["kind"].value_counts().to_dict() == {
        "optimizer": 2 * 3,  # AdamW with either decay against SGD
        "weight_decay": 3,
        "learning_rate": 2 * 3,  # the number against either schedule
        "decay_steps": 3,
    }


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


UNTIL = {
    "variants": {"centered": {}},
    "trials": {"at_least": 3, "at_most": 12},
    "until": {"difference": ["feed_forward", "cnn"], "ci95": 0.02},
}
DIFFERENCES = [0.02, 0.025, 0.02, 0.015, 0.02, 0.1, -0.1, 0.2]


def _until(**changes: object) -> MadeUp:
    """The rule stops at five trials: the others are wild."""
    first = [0.9, 0.91, 0.92, 0.91, 0.9, 0.9, 0.9, 0.9]
    second = [value - difference for value, difference in zip(first, DIFFERENCES, strict=True)]
    accuracies = {
        (architecture, variant): values
        for architecture, values in (("feed_forward", first), ("cnn", second))
        for variant in ("centered", "large")
    }
    return made_up_sweep({**UNTIL, **changes}, accuracies=accuracies, trials=len(first))


def test_until_reports_the_interval_that_it_stopped_on_after_a_failed_trial() -> None:
    sweep = _until()
    failed = next(
        key for key, r in sweep.records.items() if (r.architecture, r.trial) == ("cnn", 1)
    )
    sweep.records[failed] = as_failed(sweep.records[failed])
    row = comparisons_of(sweep).iloc[0]
    decided = [DIFFERENCES[i] for i in (0, 2, 3, 4)]
    interval = precision_interval(decided, half_width=0.02, at_least=3, at_most=12)
    assert interval.satisfied
    assert (row["trials_a"], row["trials_b"], row["pairs"]) == (4, 4, 4)
    assert row["test"] == "paired t"
    assert row["mean_difference"] == pytest.approx(np.mean(decided))
    assert (row["ci95_low"], row["ci95_high"]) == pytest.approx(
        (interval.ci95_low, interval.ci95_high)
    )
    assert (row["ci95_high"] - row["ci95_low"]) / 2 <= 0.02


def test_the_difference_that_until_names_has_no_p_value_which_would_ignore_the_looks() -> None:
    rows = comparisons_of(_until(variants={"centered": {}, "large": {"canvas": 12}}))
    is_named = rows["kind"] == "architecture"
    p_values = rows[["p_value", "p_value_holm", "wilcoxon_p_value"]]
    assert p_values[is_named].isna().all(axis=None)
    assert p_values[~is_named].notna().all(axis=None)


def test_until_reports_the_trials_that_it_stopped_at_where_a_cell_has_more() -> None:
    grid = {"architectures": {"feed_forward": {}, "cnn": {"dropout": {"grid_search": [0.0, 0.5]}}}}
    sweep = _until(**grid)
    # The difference of the second cell needs all trials, so that the first has them too.
    for key, record in sweep.records.items():
        if record.identity["hyperparameters"].get("dropout") == 0.5 and record.test:
            sweep.records[key] = _with_accuracy(record, 0.8 + 0.02 * (record.trial % 3))
    rows = comparisons_of(sweep)
    row = rows[(rows["kind"] == "architecture") & (rows["dropout_b"] == 0.0)].iloc[0]
    interval = precision_interval(DIFFERENCES, half_width=0.02, at_least=3, at_most=12)
    assert (interval.satisfied, row["pairs"]) == (True, interval.n)
    assert (row["ci95_low"], row["ci95_high"]) == pytest.approx(
        (interval.ci95_low, interval.ci95_high)
    )


def _with_accuracy(record: Record, accuracy: float) -> Record:
    assert record.test
    return replace(record, test=replace(record.test, accuracy=accuracy))


SCORES = {
    0: [0.80, 0.82, 0.84],
    1: [0.90, 0.92, 0.94, 0.89, 0.92],
    2: [0.85, 0.86, 0.85],
    "default": [0, 0, 0, 0.90, 0.94],
}


def test_the_winner_of_a_search_is_compared_with_the_default_in_fresh_pairs() -> None:
    rows = comparisons_of(made_up_search(SCORES))
    assert rows["kind"].tolist() == ["search"]  # and not once more as a dropout
    row = rows.iloc[0]
    assert (row["selection_a"], row["selection_b"]) == ("winner", "default")
    assert (row["trials_a"], row["trials_b"], row["pairs"]) == (2, 2, 2)
    assert row["mean_difference"] == pytest.approx(-0.015)
    expected = stats.ttest_rel([0.84, 0.87], [0.85, 0.89]).confidence_interval()
    assert (row["ci95_low"], row["ci95_high"]) == pytest.approx((expected.low, expected.high))


def test_a_winner_that_is_the_default_is_not_compared_with_itself() -> None:
    changes = {"architectures": {"feed_forward": {"dropout": {"choice": [0.0]}}}}
    search = made_up_search({number: [0.9] * 5 for number in (0, 1, 2, "default")}, changes)
    assert comparisons_of(search).empty


def across(*sweeps: MadeUp) -> pd.DataFrame:
    rows = tabulate([sweep.results() for sweep in sweeps]).comparisons.to_pandas()
    return rows[rows["sweep"].isna()]


def short_and_long(**changes: object) -> tuple[MadeUp, MadeUp]:
    short = sweep_of({"name": "short", "training": {"epochs": 1}}, PAIRED)
    longer = {key: [value + 0.01 for value in values] for key, values in PAIRED.items()}
    longer["cnn", "centered"] = [0.985, 0.995, 0.99, 0.985]
    return short, sweep_of({"name": "long", "training": {"epochs": 3}, **changes}, longer)


def test_sweeps_are_compared_in_what_differs_in_one_thing_alone() -> None:
    rows = across(*short_and_long())
    columns = ["kind", "sweep_a", "sweep_b", "epochs_a", "epochs_b", "test"]
    assert (
        rows[columns].to_numpy().tolist()
        == [
            ["epochs", "short", "long", 1, 3, "paired t"]  # equal seeds give pairs
        ]
        * 4
    )
    cnn = rows[(rows["architecture_a"] == "cnn") & (rows["variant_a"] == "centered")].iloc[0]
    expected = stats.ttest_rel(PAIRED["cnn", "centered"], [0.985, 0.995, 0.99, 0.985])
    assert cnn["p_value"] == pytest.approx(expected.pvalue)


def test_comparisons_across_sweeps_change_nothing_within_them() -> None:
    sweeps = short_and_long()
    side_by_side = tabulate([sweep.results() for sweep in sweeps]).comparisons.to_pandas()
    for sweep in sweeps:
        within = side_by_side[side_by_side["sweep"] == sweep.space.name]
        alone = comparisons_of(sweep)
        pd.testing.assert_frame_equal(within[alone.columns].reset_index(drop=True), alone)


def test_sweeps_that_differ_in_two_things_are_not_compared() -> None:
    assert across(*short_and_long(training={"epochs": 3, "learning_rate": 0.01})).empty


def test_shifted_digits_that_other_seeds_placed_are_not_compared() -> None:
    rows = across(*short_and_long(seed=1))
    assert rows["variant_a"].unique().tolist() == ["centered"]
    assert rows["test"].unique().tolist() == ["Welch"]  # other seeds share no trials
    assert (rows["pairs"] == 0).all()


def test_a_cell_that_both_sweeps_have_is_compared_within_them_only() -> None:
    grid = {"epochs": {"grid_search": [1, 3]}}
    short, _ = short_and_long()
    both = sweep_of({"name": "both", "training": grid}, 0.9)
    assert across(short, both).empty


def test_plain_images_are_compared_with_transformed_ones_and_one_parameter_with_another() -> None:
    noisy = {"transform": "own:noise", "sigma": {"grid_search": [9, 18]}}
    variants = {"clean": {}, "noisy": noisy, "blurred": {"transform": "own:blur"}}
    sweep = made_up_sweep({"architectures": {"cnn": {}}, "variants": variants})
    rows = sweep.tables().comparisons.to_pylist()
    kinds = [(row["kind"], row["variant_a"], row["variant_b"]) for row in rows]
    drops = [("drop", "clean", "noisy")] * 2 + [("drop", "clean", "blurred")]
    assert sorted(kinds) == sorted([*drops, ("sigma", "noisy", "noisy")])
