"""Tests of the tables, and that `space.columns` documents every column."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import (
    ACCURACIES,
    MadeUp,
    as_failed,
    made_up_record,
    made_up_search,
    made_up_space,
    made_up_sweep,
    on_device,
)
from scipy import stats

from mnist_ray.analysis.reading import results_of_records
from mnist_ray.analysis.tables import CELL, CELL_A, CELL_B
from mnist_ray.analysis.tabulation import tabulate
from mnist_ray.ledger.record import Status
from mnist_ray.plan.trial import trials_of
from mnist_ray.space.columns import RESERVED_COLUMNS, SWEEP, TABLES, Column, Only, markdown

HYPERPARAMETERS = [
    *("hidden_units", "dropout", "epochs", "batch_size", "validation_split", "optimizer"),
    *("learning_rate", "precision", "shift", "canvas"),
    *("filters", "kernel_size", "pool_size", "pool_stride", "dense_units"),
]


def report_of(sweep: MadeUp) -> pd.DataFrame:
    return sweep.tables().report.to_pandas()


def test_report_columns_come_in_the_documented_order() -> None:
    report = made_up_sweep().tables().report
    assert report.column_names == [
        *("dataset", "architecture", "variant"),
        *HYPERPARAMETERS,
        *("trials", "failed", "mean_test_accuracy", "std_test_accuracy", "sem_test_accuracy"),
        *("ci95_low", "ci95_high", "min_test_accuracy", "max_test_accuracy"),
        *("mean_validation_accuracy", "mean_test_loss", "mean_train_seconds", "parameters"),
        *("independent_error_std", "excess_variance", "test_set_sem", "left_skewed", "device"),
    ]


def test_trials_columns_come_in_the_documented_order() -> None:
    trials = made_up_sweep().tables().trials
    assert trials.column_names == [
        *("key", "dataset", "architecture", "variant"),
        *HYPERPARAMETERS,
        *("trial", "source", "seed", "status", "error", "traceback"),
        *("test_accuracy", "test_loss"),
        *("validation_accuracy", "train_accuracy", "parameters"),
        *("setup_seconds", "train_seconds", "evaluate_seconds", "started_at"),
        *("node", "device", "threads", "xla_error", "peak_memory_bytes"),
        *("python_version", "tensorflow_version", "keras_version", "ray_version"),
        *("numpy_version", "git_commit", "dataset_fingerprint"),
    ]


def test_no_hyperparameter_can_bear_the_name_of_a_column() -> None:
    columns = {
        column.name
        for table in TABLES.values()
        for column in (SWEEP, *table)
        if isinstance(column, Column)
    }
    assert columns - RESERVED_COLUMNS == set()


def test_means_over_trials_can_be_worked_out_by_hand() -> None:
    accuracies = {pair: [0.90, 0.92, 0.97] for pair in ACCURACIES}
    row = report_of(made_up_sweep(accuracies=accuracies)).iloc[0]
    # Mean 0.93, deviations -0.03, -0.01, 0.04: squares sum to 0.0026, variance 0.0013.
    assert row["trials"] == 3
    assert row["mean_test_accuracy"] == pytest.approx(0.93)
    assert row["std_test_accuracy"] == pytest.approx(0.0013**0.5)
    assert row["sem_test_accuracy"] == pytest.approx((0.0013 / 3) ** 0.5)
    half_width = stats.t.ppf(0.975, 2) * (0.0013 / 3) ** 0.5
    assert row["ci95_low"] == pytest.approx(0.93 - half_width)
    assert row["ci95_high"] == pytest.approx(0.93 + half_width)  # above 1, and not clipped
    assert (row["min_test_accuracy"], row["max_test_accuracy"]) == (0.90, 0.97)
    assert row["mean_train_seconds"] == pytest.approx(3.0)


def test_one_trial_has_a_mean_and_no_spread() -> None:
    row = report_of(made_up_sweep({"trials": 1}, accuracies=0.9)).iloc[0]
    assert row["trials"] == 1
    assert row["mean_test_accuracy"] > 0
    unknown = ["std_test_accuracy", "sem_test_accuracy", "ci95_low", "ci95_high"]
    assert row[[*unknown, "independent_error_std", "test_set_sem"]].isna().all()


def test_a_cell_without_records_still_has_its_row() -> None:
    sweep = made_up_sweep()
    sweep.records.clear()
    report = report_of(sweep)
    assert list(zip(report["architecture"], report["variant"], strict=True)) == [*ACCURACIES]
    assert (report["trials"] == 0).all()
    assert report[["mean_test_accuracy", "parameters", "device"]].isna().all(axis=None)


def test_failed_trials_stand_beside_the_mean_and_never_in_it() -> None:
    sweep = made_up_sweep(accuracies={pair: [0.90, 0.92, 0.97] for pair in ACCURACIES})
    key = next(iter(sweep.records))
    sweep.records[key] = as_failed(sweep.records[key])
    tables = sweep.tables()
    row = tables.report.to_pandas().iloc[0]
    assert (row["trials"], row["failed"]) == (2, 1)
    assert row["mean_test_accuracy"] == pytest.approx(0.945)
    trial = tables.trials.to_pandas().iloc[0]
    assert trial["status"] == "failed"
    assert trial["error"] == "ValueError: no such luck"
    assert "Traceback" in trial["traceback"]
    assert pd.isna(trial["test_accuracy"])


def test_trials_that_were_cut_short_are_shown_and_never_in_a_mean() -> None:
    sweep = made_up_sweep(accuracies={pair: [0.90, 0.92, 0.97] for pair in ACCURACIES})
    key = next(iter(sweep.records))
    sweep.records[key] = replace(sweep.records[key], status=Status.CUT_SHORT)
    tables = sweep.tables()
    row = tables.report.to_pandas().iloc[0]
    assert (row["trials"], row["failed"]) == (2, 0)
    assert row["mean_test_accuracy"] == pytest.approx(0.945)
    assert tables.trials.num_rows == 12


def test_records_that_the_space_does_not_ask_for_are_left_out() -> None:
    sweep = made_up_sweep({"trials": 5})
    fewer = made_up_space({"trials": 2})
    tables = replace(sweep, space=fewer).tables()
    assert tables.report["trials"].to_pylist() == [2, 2, 2, 2]
    assert tables.trials["trial"].to_pylist() == [0, 1] * 4


def test_a_renamed_architecture_keeps_its_records_under_its_new_name() -> None:
    sweep = made_up_sweep()
    renamed = made_up_space({"architectures": {"perceptron": {"build": "feed_forward"}, "cnn": {}}})
    report = replace(sweep, space=renamed).tables().report
    assert report["architecture"].to_pylist() == ["perceptron"] * 2 + ["cnn"] * 2
    assert report["trials"].to_pylist() == [3] * 4


def test_devices_are_never_mixed_in_one_mean() -> None:
    sweep = made_up_sweep(accuracies={pair: [0.90, 0.92, 0.97] for pair in ACCURACIES})
    _, second, third = list(sweep.records)[:3]
    sweep.records[third] = on_device(sweep.records[third], "NVIDIA H200")
    sweep.records[second] = as_failed(on_device(sweep.records[second], "NVIDIA H200"))
    rows = report_of(sweep).iloc[:2]
    assert rows["device"].tolist() == ["CPU", "NVIDIA H200"]
    assert rows["mean_test_accuracy"].tolist() == [0.90, 0.97]
    assert rows["failed"].tolist() == [0, 1]


def test_spread_of_independent_errors_can_be_worked_out_by_hand() -> None:
    # All 20 digits of 200 that a trial gets wrong differ between the two trials: no p is 1/2 twice.
    sweep = made_up_sweep({"trials": 2}, accuracies={pair: [0.9, 0.9] for pair in ACCURACIES})
    row = report_of(sweep).iloc[0]
    records = [*sweep.records.values()][:2]
    right = np.array([r.test.predictions == sweep.test_set.labels for r in records if r.test])
    share = right.mean(axis=0)
    expected = np.sqrt((share * (1 - share)).sum() * 2) / 200
    assert row["independent_error_std"] == pytest.approx(expected)
    assert row["excess_variance"] == pytest.approx(200 / 199 * (0 - expected**2))
    assert row["test_set_sem"] == pytest.approx(share.std(ddof=1) / np.sqrt(200))


def test_without_a_test_set_only_what_needs_it_is_null() -> None:
    sweep = made_up_sweep()
    report = sweep.tables(with_test_set=False).report.to_pandas()
    assert (
        report[["independent_error_std", "excess_variance", "test_set_sem"]].isna().all(axis=None)
    )
    assert report["std_test_accuracy"].notna().all()


def test_epochs_count_from_one_and_trials_from_zero() -> None:
    epochs = made_up_sweep({"trials": 2, "training": {"epochs": 3}}).tables().epochs.to_pandas()
    assert epochs["epoch"].tolist() == [1, 2, 3] * 8
    assert epochs["trial"].tolist() == ([0] * 3 + [1] * 3) * 4
    assert epochs["validation_accuracy"].notna().all()


def test_robustness_has_a_row_for_each_cell_and_asked_shift() -> None:
    sweep = made_up_sweep(
        {
            "variants": {"centered": {"canvas": 12}, "shifted": {"shift": 4}},
            "evaluate": {"shifts": [0, 2, 4]},
        },
        accuracies={pair: [0.90, 0.92, 0.97] for pair in ACCURACIES},
    )
    rows = sweep.tables().robustness.to_pandas()
    assert rows["test_shift"].tolist() == [0, 2, 4] * 4
    assert (rows["trials"] == 3).all()
    # Made up as 0.01 less a pixel of shift.
    expected = [0.93, 0.91, 0.89]
    assert rows["mean_test_accuracy"].tolist()[:3] == pytest.approx(expected, abs=0.003)


def test_hyperparameters_keep_their_types() -> None:
    report = made_up_sweep().tables().report
    assert report["hidden_units"].to_pylist() == [[512, 256], [512, 256], None, None]
    assert report["kernel_size"].to_pylist() == [None, None, 3, 3]
    types = {name: str(report.schema.field(name).type) for name in HYPERPARAMETERS}
    assert types["hidden_units"].startswith("list<")
    assert types["hidden_units"].endswith("int64>")
    assert types["epochs"] == "int64"
    assert types["learning_rate"] == "double"
    assert types["optimizer"] == "string"


def test_lists_without_items_and_hyperparameters_of_ones_own_have_columns() -> None:
    sweep = made_up_sweep(
        {
            "architectures": {
                "linear": {"build": "feed_forward", "hidden_units": []},
                "mine": {"build": "some_module:build", "width": 3, "wide": True, "note": None},
            }
        }
    )
    report = sweep.tables().report
    assert report["hidden_units"].to_pylist() == [[], [], None, None]
    assert report["wide"].to_pylist() == [None, None, True, True]
    assert report["note"].to_pylist() == [None] * 4


def test_tables_do_not_hang_on_the_order_of_the_records() -> None:
    sweep = made_up_sweep()
    backwards = dict(reversed(sweep.records.items()))
    again = replace(sweep, records=backwards).tables()
    for name, table in sweep.tables().by_name().items():
        assert table.equals(again.by_name()[name])


def test_empty_tables_have_their_columns() -> None:
    sweep = made_up_sweep({"architectures": {"cnn": {}}, "variants": {"centered": {}}})
    tables = sweep.tables()
    assert tables.comparisons.num_rows == tables.robustness.num_rows == 0
    assert {"kind", "p_value_holm", "filters_a"} <= set(tables.comparisons.column_names)
    assert {"test_shift", "filters"} <= set(tables.robustness.column_names)


def test_replication_to_a_precision_reports_the_interval_of_its_rule() -> None:
    goal = {"at_least": 3, "at_most": 20, "until_ci95": 0.01}
    sweep = made_up_sweep({"trials": goal}, accuracies=0.9, trials=6)
    report = report_of(sweep)
    width = (report["ci95_high"] - report["ci95_low"]) / 2
    assert (width > report["plain_half_width"]).all()
    assert (report["satisfied"] == (width <= 0.01)).all()
    assert report.columns[-4:].tolist() == [
        "fixed_trials",
        "plain_half_width",
        "satisfied",
        "device",
    ]


def test_a_fixed_number_of_trials_has_no_columns_of_a_precision() -> None:
    assert "satisfied" not in made_up_sweep().tables().report.column_names


# Searches

FILLER = [0.0] * 3
"""The default is not among what the search tries."""


def search_of(sweep: MadeUp) -> pd.DataFrame:
    return sweep.tables().search.to_pandas()


def searched() -> MadeUp:
    return made_up_search(
        {
            0: [0.80, 0.82, 0.84],
            1: [0.90, 0.92, 0.94, 0.89, 0.91],
            2: [0.95, None],
            "default": [*FILLER, 0.90, 0.92],
        }
    )


def test_the_winner_has_its_score_and_what_it_does_afresh() -> None:
    rows = search_of(searched())
    assert rows["is_winner"].tolist() == [False, True, False, False]
    winner = rows.iloc[1]
    assert (winner["stage"], winner["search_trials"], winner["confirm_trials"]) == (
        "complete",
        3,
        2,
    )
    # Mean of 0.90, 0.92, 0.94; deviations -0.02, 0, 0.02. Afresh 0.89 and 0.91.
    assert winner["search_validation_accuracy"] == pytest.approx(0.92)
    assert winner["search_validation_std"] == pytest.approx(0.02)
    assert winner["confirm_validation_accuracy"] == pytest.approx(0.90)
    assert winner["optimism"] == pytest.approx(0.02)
    # Tests are made up as 0.05 less: 0.84 and 0.86.
    assert winner["mean_test_accuracy"] == pytest.approx(0.85)
    assert winner["sem_test_accuracy"] == pytest.approx(0.01)
    assert winner["ci95_high"] == pytest.approx(0.85 + stats.t.ppf(0.975, 1) * 0.01)


def test_a_configuration_with_a_failed_trial_never_wins_with_the_mean_of_the_rest() -> None:
    failed = search_of(searched()).iloc[2]
    assert (failed["stage"], failed["search_trials"], failed["failed"]) == ("failed", 1, 1)
    assert failed["search_validation_accuracy"] == pytest.approx(0.95)  # above the winner's
    assert failed[["optimism", "mean_test_accuracy"]].isna().all()


def test_the_default_has_a_row_though_the_search_never_tried_it() -> None:
    default = search_of(searched()).iloc[3]
    assert default["is_default"]
    assert pd.isna(default["configuration"])
    assert pd.isna(default["stage"])
    assert (default["search_trials"], default["confirm_trials"]) == (0, 2)
    assert default["mean_test_accuracy"] == pytest.approx(0.86)
    assert pd.isna(default["optimism"])


def default_among_the_options() -> MadeUp:
    """With two options, of three configurations the default is one, and one is drawn twice."""
    accuracies = [0.90, 0.92, 0.94, 0.89, 0.91]
    lower = [0.80, 0.82, 0.84, 0.80, 0.80]
    options = {"feed_forward": {"dropout": {"choice": [0.0, 0.4]}}}
    changes = {"architectures": options}
    first = made_up_search({}, changes, at_most=0)
    rows = search_of(first)
    scores = [accuracies if is_default else lower for is_default in rows["is_default"]]
    return made_up_search(dict(enumerate(scores)), changes)


def test_a_default_that_itself_won_is_one_row_and_one_cell() -> None:
    tables = default_among_the_options().tables()
    rows = tables.search.to_pandas()
    assert len(rows) == 3
    winner = rows[rows["is_winner"]]
    assert winner["is_default"].tolist() == [True]
    assert winner["optimism"].tolist() == pytest.approx([0.02])
    assert tables.report["selection"].to_pylist() == ["winner and default"]
    assert tables.report["trials"].to_pylist() == [2]


def test_trials_of_a_configuration_that_was_drawn_twice_are_listed_once() -> None:
    tables = default_among_the_options().tables()
    assert len(set(tables.search["dropout"].to_pylist())) == 2 < tables.search.num_rows
    keys = tables.trials["key"].to_pylist()
    assert len(keys) == len(set(keys))


def test_what_was_raced_out_keeps_the_score_of_its_few_trials() -> None:
    sweep = made_up_search(
        {
            0: [0.90, 0.91, 0.92, 0.93, 0.94, 0.90, 0.90],
            1: [0.50, 0.51, 0.50],
            2: [0.90, 0.91, 0.91, 0.92, 0.93],
            "default": [*FILLER, 0.0, 0.0, 0.90, 0.92],
        },
        {"race": True, "search": {"configurations": 3, "trials_each": 5}},
    )
    rows = search_of(sweep)
    assert rows["stage"].tolist()[:3] == ["complete", "raced_out", "complete"]
    assert rows["search_trials"].tolist() == [5, 3, 5, 0]
    assert rows["search_validation_accuracy"][1] == pytest.approx(1.51 / 3)


def test_the_report_is_of_fresh_trials_and_distinguishes_winner_and_default() -> None:
    report = report_of(searched())
    assert report["selection"].tolist() == ["winner", "default"]
    assert report["trials"].tolist() == [2, 2]
    assert report["mean_validation_accuracy"].tolist() == pytest.approx([0.90, 0.91])
    assert "selection" not in report_of(made_up_sweep())


def test_before_a_search_has_a_winner_the_report_has_no_rows() -> None:
    tables = made_up_search({0: [0.8], 1: [0.9], 2: [0.9]}, at_most=3).tables()
    assert tables.report.num_rows == 0
    assert tables.trials.num_rows == 3
    assert tables.search["stage"].to_pylist() == ["running"] * 3 + [None]
    assert not any(tables.search["is_winner"].to_pylist())


def test_every_column_is_documented_in_the_page_of_columns() -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "columns.md"
    assert page.read_text(encoding="utf-8") == markdown()


def test_every_documented_column_is_in_its_table() -> None:
    tables = made_up_sweep({"evaluate": {"shifts": [0]}}).tables().by_name()
    for name, columns in TABLES.items():
        documented = [c.name for c in columns if isinstance(c, Column) and c.only is None]
        assert set(documented) <= set(tables[name].column_names)
    assert Only.SIDE_BY_SIDE not in tables["report"].column_names


def test_keys_are_those_of_the_trials() -> None:
    sweep = made_up_sweep({"trials": 2})
    cell = sweep.space.cells(sweep.dataset_info.image_shape)[0]
    wanted = [trial.key for trial in trials_of(sweep.space, cell, sweep.dataset_info, 2)]
    assert sweep.tables().trials["key"].to_pylist()[:2] == wanted


# Cells of equal settings

TWINS = {"architectures": {"first": {"build": "cnn"}, "second": {"build": "cnn"}}}


def test_architectures_of_equal_settings_both_have_their_rows() -> None:
    sweep = made_up_sweep({**TWINS, "variants": {"a": {}, "b": {}}})
    assert len(sweep.records) == 3
    report = report_of(sweep)
    assert list(zip(report["architecture"], report["variant"], strict=True)) == [
        *(("first", "a"), ("first", "b"), ("second", "a"), ("second", "b"))
    ]
    assert report["trials"].tolist() == [3] * 4
    assert report["mean_test_accuracy"].nunique() == 1
    assert len(sweep.tables().trials) == 12


def test_rows_know_their_cells() -> None:
    sweep = made_up_sweep({"evaluate": {"shifts": [0]}, **TWINS})
    tables, keys = sweep.tables(), [cell.key for cell in sweep.results().cells]
    assert len(set(keys)) == len(keys)
    assert [row[CELL] for row in tables.rows("report")] == keys
    assert [row[CELL] for row in tables.rows("robustness")] == keys
    names = {row[CELL]: row["architecture"] for row in tables.rows("report")}
    for row in tables.rows("comparisons"):
        assert (names[row[CELL_A]], names[row[CELL_B]]) == (
            row["architecture_a"],
            row["architecture_b"],
        )


def test_without_its_space_two_versions_of_an_own_architecture_are_two_rows() -> None:
    changes = {"architectures": {"mine": {"build": "mine:build"}}, "variants": {"centered": {}}}
    sweep, records = made_up_sweep(changes), {}
    for digest in ("a" * 64, "b" * 64):
        for trial in trials_of(
            sweep.space,
            sweep.space.cells(sweep.dataset_info.image_shape)[0],
            replace(sweep.dataset_info, sources={"mine:build": digest}),
            2,
        ):
            rng = np.random.default_rng(0)
            record = made_up_record(trial, 0.9, test_set=sweep.test_set, rng=rng)
            records[trial.key] = record
    results = results_of_records("mine", records, sweep.test_set)
    assert len({cell.key for cell in results.cells}) == 2
    assert tabulate([results]).report["trials"].to_pylist() == [2, 2]


def test_robustness_has_a_row_for_each_cell_and_variant_asked_for() -> None:
    variants = {"clean": {}, "noisy": {"transform": "own:noise", "sigma": 9}}
    changes = {"architectures": {"cnn": {}}, "variants": variants}
    sweep = made_up_sweep({**changes, "evaluate": {"variants": "all"}}, trials=3)
    rows = sweep.tables().robustness.to_pylist()
    pairs = [(row["variant"], row["test_variant"]) for row in rows]
    assert pairs == [(a, b) for a in variants for b in variants]
    for row in rows:
        expected = 0.0 if row["variant"] == row["test_variant"] else 0.1
        assert row["mean_drop"] == pytest.approx(expected, abs=0.006)
        assert row["trials"] == 3
