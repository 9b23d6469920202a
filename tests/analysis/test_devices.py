"""Trials on two kinds of device: figures of one are never mixed with those of the other."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up import MadeUp, made_up_search, made_up_sweep, on_device
from scipy import stats

from mnist_ray.analysis.tabulation import tabulate
from mnist_ray.ledger.record import Record
from mnist_ray.stats.sequential import precision

H100 = "NVIDIA H100"


def moved(sweep: MadeUp, *, first: int, architecture: str | None = None) -> MadeUp:
    """The sweep as it would be had the trials from index `first` on run on a card."""

    def place(record: Record) -> Record:
        is_moved = record.trial >= first and architecture in (None, record.architecture)
        return on_device(record, H100) if is_moved else record

    return replace(sweep, records={key: place(r) for key, r in sweep.records.items()})


def rows_of(sweep: MadeUp, table: str) -> pd.DataFrame:
    return sweep.tables().by_name()[table].to_pandas()


def sentences(sweep: MadeUp) -> list[str]:
    return sweep.findings()


# What is compared, and what is said


def test_a_sweep_that_went_on_on_a_card_has_a_mean_and_comparisons_for_each_device() -> None:
    sweep = moved(made_up_sweep({"trials": 6}), first=4)
    report, comparisons = rows_of(sweep, "report"), rows_of(sweep, "comparisons")
    assert report["device"].tolist() == ["CPU", H100] * 4
    assert report["trials"].tolist() == [4, 2] * 4
    assert comparisons.groupby("device")["trials_a"].unique().map(list).to_dict() == {
        "CPU": [4],
        H100: [2],
    }
    assert comparisons.groupby("device").size().to_dict() == {"CPU": 4, H100: 4}


def test_findings_say_on_which_devices_trials_ran() -> None:
    assert "different devices" not in " ".join(sentences(made_up_sweep({"trials": 6})))
    last = sentences(moved(made_up_sweep({"trials": 6}), first=4))[-1]
    assert "different devices: 16 on CPU, 8 on NVIDIA H100." in last


def test_architectures_on_different_devices_are_not_compared_and_that_is_said() -> None:
    sweep = moved(made_up_sweep(), first=0, architecture="cnn")
    assert set(rows_of(sweep, "comparisons")["kind"]) == {"drop"}
    assert "cells on different devices are not compared" in sentences(sweep)[-1]


def test_robustness_has_a_row_for_each_device() -> None:
    sweep = moved(made_up_sweep({"trials": 5, "evaluate": {"shifts": [2]}}), first=3)
    rows = rows_of(sweep, "robustness")
    assert rows["device"].tolist() == ["CPU", H100] * 4
    assert rows["trials"].tolist() == [3, 2] * 4


def test_sweeps_are_compared_on_the_device_that_both_ran_on() -> None:
    """Another sweep's equal cell, on another device, is no reason not to."""
    short = made_up_sweep({"name": "short", "training": {"epochs": 1}, "trials": 4})
    grid = {"epochs": {"grid_search": [1, 3]}}
    both = made_up_sweep({"name": "both", "training": grid, "trials": 4})
    on_a_card = {
        key: on_device(record, H100) if record.identity["training"]["epochs"] == 1 else record
        for key, record in both.records.items()
    }
    sweeps = [short.results(), replace(both, records=on_a_card).results()]
    rows = tabulate(sweeps).comparisons.to_pandas()
    across = rows[rows["sweep"].isna()]
    assert across[["epochs_a", "epochs_b", "device"]].to_numpy().tolist() == [[1, 3, "CPU"]] * 4


# The difference that until names

DIFFERENCES = [0.02, 0.025, 0.02, 0.015, 0.02, 0.1, -0.1, 0.2]
UNTIL = {
    "variants": {"centered": {}},
    "trials": {"at_least": 3, "at_most": 12},
    "until": {"difference": ["feed_forward", "cnn"], "ci95": 0.005},
}


def until() -> MadeUp:
    first = [0.9] * len(DIFFERENCES)
    second = [0.9 - difference for difference in DIFFERENCES]
    accuracies = {("feed_forward", "centered"): first, ("cnn", "centered"): second}
    return made_up_sweep(UNTIL, accuracies=accuracies, trials=len(first))


def test_the_difference_that_until_names_has_an_interval_for_each_device() -> None:
    rows = rows_of(moved(until(), first=5), "comparisons").set_index("device")
    assert rows["pairs"].to_dict() == {"CPU": 5, H100: 3}
    for device, values in (("CPU", DIFFERENCES[:5]), (H100, DIFFERENCES[5:])):
        row, high = rows.loc[device], precision(values, goal=0.005, at_most=12).ci95_high
        assert high is not None
        assert row["mean_difference"] == pytest.approx(np.mean(values))
        assert row["ci95_high"] == pytest.approx(high)
        # Student's would not allow for the looks.
        degrees = len(values) - 1
        half_width = high - np.mean(values)
        assert half_width > stats.t.interval(0.95, degrees, 0, stats.sem(values))[1]
    assert rows[["p_value", "p_value_holm", "wilcoxon_p_value"]].isna().all(axis=None)


def test_the_difference_that_until_names_has_no_interval_without_a_pair_on_one_device() -> None:
    sweep = until()
    for key, record in sweep.records.items():
        if record.trial == (3 if record.architecture == "cnn" else 1):
            sweep.records[key] = on_device(record, H100)
    rows = rows_of(sweep, "comparisons").set_index("device")
    assert rows["pairs"].to_dict() == {"CPU": 6, H100: 0}
    assert rows.loc[H100, ["ci95_low", "ci95_high", "p_value"]].isna().all()
    assert pd.notna(rows.loc["CPU", "ci95_low"])


def test_a_precision_is_judged_by_the_trials_of_one_device() -> None:
    goal = {"until_ci95": 0.01, "at_least": 3, "at_most": 12}
    values = [0.9, 0.8, 0.9, 0.905, 0.9, 0.905, 0.9]
    sweep = made_up_sweep(
        {"architectures": {"cnn": {}}, "variants": {"centered": {}}, "trials": goal},
        accuracies={("cnn", "centered"): values},
        trials=len(values),
    )
    rows = rows_of(moved(sweep, first=2), "report")
    assert rows["device"].tolist() == ["CPU", H100]
    assert rows["satisfied"].tolist() == [False, True]


# The winner of a search

SCORES = {
    0: [0.80, 0.82, 0.84],
    1: [0.90, 0.92, 0.94, 0.89, 0.92, 0.99],
    2: [0.85, 0.86, 0.85],
    "default": [0, 0, 0, 0.90, 0.94, 0.80],
}


def test_fresh_trials_of_two_devices_are_not_pooled() -> None:
    search = moved(made_up_search(SCORES, {"confirm": 3}), first=5)
    table = rows_of(search, "search")
    winner, default = (table[table[name]].iloc[0] for name in ("is_winner", "is_default"))
    assert (winner["confirm_trials"], winner["device"]) == (2, "CPU")
    assert winner["confirm_validation_accuracy"] == pytest.approx(0.905)
    assert default["confirm_validation_accuracy"] == pytest.approx(0.92)
    report = rows_of(search, "report")
    assert report.groupby("device")["trials"].unique().map(list).to_dict() == {
        "CPU": [2],
        H100: [1],
    }


def test_what_another_device_adds_is_not_taken_for_the_optimism_of_a_search() -> None:
    search = moved(made_up_search(SCORES, {"confirm": 3}), first=3)
    table = rows_of(search, "search")
    winner = table[table["is_winner"]].iloc[0]
    assert (winner["search_device"], winner["device"]) == ("CPU", H100)
    assert winner["confirm_trials"] == 3
    assert pd.isna(winner["optimism"])
    found = sentences(search)[0]
    assert "flatter" not in found
    assert "ran on CPU, the fresh ones here on NVIDIA H100." in found


def test_a_search_over_two_devices_says_so() -> None:
    search = moved(made_up_search(SCORES), first=1)
    table = rows_of(search, "search")
    assert table["search_device"].dropna().unique().tolist() == [f"CPU and {H100}"]
    assert table[table["is_winner"]]["optimism"].isna().all()
    assert "ran on CPU and NVIDIA H100" in sentences(search)[0]
