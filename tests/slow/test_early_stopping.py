"""A search with early stopping, as a person runs it, on scikit-learn's digits."""

from collections.abc import Iterator

import pandas as pd
import pytest
from running import Ended, Place, opened, write_space

import mnist_ray

SPACE = {
    "name": "stopped",
    "dataset": "digits",
    "architectures": {"feed_forward": {"hidden_units": [16]}},
    "variants": {"centered": {}},
    "training": {"epochs": 9, "learning_rate": {"loguniform": [1e-6, 1e-1]}},
    "search": {"algorithm": "random", "configurations": 8, "trials_each": 2},
    "early_stopping": "asha",
    "confirm": 2,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("search")
    write_space(folder / "stopped.yaml", SPACE)
    with opened(folder) as place:
        yield place


@pytest.fixture(scope="module")
def stopped(place: Place) -> Ended:
    return place.run("stopped.yaml")


def trials_of_search(table: pd.DataFrame) -> pd.DataFrame:
    """Those of the search itself, the first two of each configuration."""
    return table[table["trial"] < 2]


def test_asha_cuts_trials_short_and_no_mean_holds_them(place: Place, stopped: Ended) -> None:
    assert stopped.code == 0, stopped
    folder = place.folder / "results/stopped"
    trials, epochs = mnist_ray.load_trials(folder), mnist_ray.load_epochs(folder)
    cut = trials[trials["status"] == "cut_short"]
    assert 0 < len(cut) < 8
    assert set(cut["trial"]) == {0}
    assert cut["test_accuracy"].isna().all()
    seen = epochs.groupby("key")["epoch"].max()
    assert set(seen[cut["key"]]) <= {1, 3}  # where they are compared; 9 is the end
    whole = trials[trials["status"] == "finished"]
    assert set(seen[whole["key"]]) == {9}
    # A configuration that lasted has all its trials, one that did not has no more.
    counts = trials_of_search(trials).groupby("learning_rate")["status"].agg(list)
    assert sorted(map(tuple, counts)) == sorted(
        [("cut_short",)] * len(cut) + [("finished",) * 2] * (8 - len(cut))
    )


def test_confirming_trials_are_whole(place: Place, stopped: Ended) -> None:
    assert stopped.code == 0, stopped
    folder = place.folder / "results/stopped"
    report, trials = mnist_ray.load_report(folder), mnist_ray.load_trials(folder)
    assert list(report["trials"]) == [2, 2]
    fresh = trials[trials["trial"] >= 2]
    assert list(fresh["status"]) == ["finished"] * 4


def test_a_search_with_stopped_trials_runs_nothing_again(place: Place, stopped: Ended) -> None:
    assert stopped.code == 0, stopped
    again = place.run("stopped.yaml")
    assert again.code == 0, again
    assert again.recorded == []
