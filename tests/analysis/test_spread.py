"""Where the spread comes from, and that no mean includes a trial that varies one source alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import MadeUp, as_failed, folder_at, made_up_sweep, on_device
from made_up_spread import STDS, adding_up, made_up_spread, not_adding_up
from pages import rebuild

import mnist_ray
from mnist_ray.analysis.loading import to_frame
from mnist_ray.analysis.reading import results_of_records
from mnist_ray.analysis.tabulation import tabulate
from mnist_ray.ledger.record import Record

ADDING_UP = made_up_spread(adding_up())
CELL = ["architecture", "variant"]


def spread_table(sweep: MadeUp) -> pd.DataFrame:
    return to_frame(sweep.tables().spread)


def without(sweep: MadeUp, *sources: str) -> dict[str, Record]:
    return {key: r for key, r in sweep.records.items() if r.source not in sources}


def test_a_row_for_all_together_and_one_for_each_source_that_the_cell_has() -> None:
    sources = spread_table(ADDING_UP).groupby(CELL, observed=True)["source"].agg(list)
    assert sources["feed_forward", "centered"] == ["all", "weights", "shuffling", "sample"]
    assert sources["cnn", "shifted"] == [
        *("all", "weights", "shuffling", "placement", "dropout", "sample"),
    ]


def test_its_figures_are_those_of_the_trials_table() -> None:
    tables = ADDING_UP.tables()
    trials = to_frame(tables.trials).assign(
        source=lambda t: t["source"].astype(object).where(t["source"].notna(), "all")
    )
    stds = trials.groupby([*CELL, "source"])["test_accuracy"].agg(["count", "std"])
    for _, row in to_frame(tables.spread).iterrows():
        count, std = stds.loc[(row["architecture"], row["variant"], row["source"])]
        assert (row["trials"], row["std_test_accuracy"]) == (count, pytest.approx(std))
        assert row["std_ci95_low"] < std < row["std_ci95_high"]


def test_shares_and_remainder_are_of_the_variance_of_all() -> None:
    for _, cell in spread_table(ADDING_UP).groupby(CELL, observed=True):
        std = cell.set_index("source")["std_test_accuracy"].astype(float)
        shares = cell.set_index("source")["variance_share"]
        sources = [s for s in cell["source"] if s != "all"]
        expected = (std[sources] / std["all"]) ** 2
        assert shares[sources].tolist() == pytest.approx(expected.tolist())
        summed = shares[[s for s in sources if s != "sample"]].sum()
        assert cell["remainder"].dropna().tolist() == [pytest.approx(1 - summed)]


def test_no_ordinary_figure_counts_trials_of_a_source() -> None:
    ordinary = replace(
        ADDING_UP, records={k: r for k, r in ADDING_UP.records.items() if not r.source}
    )
    ours, theirs = ADDING_UP.tables(), ordinary.tables()
    for name in ("report", "comparisons", "robustness"):
        assert getattr(ours, name).equals(getattr(theirs, name))
    assert set(to_frame(ours.report)["trials"]) == {20}
    of_sources = to_frame(ours.trials)["source"].notna()
    assert of_sources.sum() == len(ADDING_UP.records) - 80
    assert to_frame(ours.epochs)["source"].notna().sum() == 2 * of_sources.sum()


def test_without_its_space_the_folder_still_distinguishes_them() -> None:
    results = results_of_records("them", ADDING_UP.records, ADDING_UP.test_set)
    tables = tabulate([results])
    assert set(to_frame(tables.report)["trials"]) == {20}
    assert tables.spread.num_rows == ADDING_UP.tables().spread.num_rows


def test_failed_trials_are_counted_and_left_out() -> None:
    records = dict(ADDING_UP.records)
    key = next(key for key, record in records.items() if record.source == "weights")
    records[key] = as_failed(records[key])
    failing = replace(ADDING_UP, records=records)
    table = spread_table(failing)
    row = table[table["failed"] > 0].iloc[0]
    assert (row["source"], row["trials"], row["failed"]) == ("weights", 19, 1)
    assert any("1 trial failed" in sentence for sentence in failing.findings())


def test_a_sweep_that_has_just_begun_has_rows_without_figures() -> None:
    begun = replace(ADDING_UP, records=dict([*ADDING_UP.records.items()][:1]))
    table = spread_table(begun)
    assert table["trials"].sum() == 1
    assert table["std_test_accuracy"].isna().all()
    assert begun.findings()
    assert spread_table(replace(ADDING_UP, records={}))["trials"].sum() == 0


def test_a_source_without_trials_yet_leaves_the_others_their_shares() -> None:
    some = spread_table(replace(ADDING_UP, records=without(ADDING_UP, "shuffling")))
    cnn = some[(some["architecture"] == "cnn") & (some["variant"] == "shifted")].set_index("source")
    assert pd.isna(cnn["variance_share"]["shuffling"])
    assert not pd.isna(cnn["variance_share"]["weights"])
    # A remainder without one of the sources would be that source's as well.
    assert pd.isna(cnn["remainder"]["all"])


def test_devices_are_kept_apart() -> None:
    records = {
        key: on_device(record, "A100") if record.trial > 10 else record
        for key, record in ADDING_UP.records.items()
    }
    table = spread_table(replace(ADDING_UP, records=records))
    weights = table[table["source"] == "weights"]
    assert set(zip(weights["device"], weights["trials"], strict=True)) == {
        ("CPU", 10),
        ("A100", 10),
    }


def test_a_space_without_sources_has_no_rows() -> None:
    tables = made_up_sweep().tables()
    assert tables.spread.num_rows == 0
    assert to_frame(tables.trials)["source"].isna().all()


def test_the_source_that_most_of_the_spread_comes_from_is_named() -> None:
    few = {"trials": 3, "spread": {"trials": 120}, "architectures": {"cnn": {}}}
    sentences = made_up_spread(adding_up(), few).findings()
    (centered,) = [s for s in sentences if s.startswith("The spread of cnn on centered")]
    assert "comes mostly from the initial weights: a standard deviation of 0.00" in centered
    assert "% of the variance (95 % CI" in centered


def test_what_no_interval_bears_is_not_claimed() -> None:
    alike = dict.fromkeys(("weights", "shuffling", "placement", "dropout"), 0.003)
    sentences = made_up_spread(adding_up(alike)).findings()
    assert not any("mostly" in s or "spread" in s for s in sentences)


def test_the_largest_is_of_the_sources_that_ordinary_trials_vary() -> None:
    changes = {"trials": 3, "spread": {"trials": 60}, "architectures": {"cnn": {}}}
    stds = {"weights": 0.006, "shuffling": 0.003, "placement": 0.003, "dropout": 0.003}
    largest = made_up_spread(adding_up({**stds, "sample": 0.02}), changes)
    table = spread_table(largest)
    cnn = table[table["variant"] == "shifted"].set_index("source")["variance_share"]
    assert cnn["sample"] > cnn["weights"]
    (found,) = [s for s in largest.findings() if "largest spread of cnn on shifted" in s]
    assert "ordinary trials vary" in found
    assert "the initial weights" in found


def test_a_few_trials_name_no_source() -> None:
    few = made_up_spread(
        adding_up({**STDS, "weights": 0.1}), {"trials": 4, "spread": {"trials": 4}}
    )
    assert (spread_table(few)["largest_rate"] >= 0.975).any()
    assert not any("spread" in sentence for sentence in few.findings())


def test_sources_that_do_not_add_up_are_reported() -> None:
    sentences = made_up_spread(not_adding_up).findings()
    found = [s for s in sentences if "do not add up" in s]
    assert any("cnn on shifted digits" in s for s in found)
    assert not any("comes mostly from" in s for s in sentences)


def test_load_spread_reads_what_the_report_wrote(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    ADDING_UP.write(folder)
    rebuild(folder)
    loaded = mnist_ray.load_spread(tmp_path)
    assert loaded["source"].tolist() == spread_table(ADDING_UP)["source"].tolist()
    assert np.isfinite(loaded["std_test_accuracy"]).all()
