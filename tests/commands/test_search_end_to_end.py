"""Searches as a person runs them, on scikit-learn's digits: a dozen seconds each."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import (
    MadeUp,
    as_failed,
    folder_at,
    made_up_record,
    made_up_space,
    made_up_test_set,
)
from pages import rebuild
from running import Ended, Place, opened, write_space
from walking import DATASET_INFO, walk

import mnist_ray
from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Record
from mnist_ray.plan.trial import Trial

GOOD, BAD = 0.01, [1e-7, 1e-6]
"""Learning rates: one at which a small network learns digits in two epochs, and two too low."""

SMALL: dict[str, Any] = {
    "dataset": "digits",
    "architectures": {"feed_forward": {"hidden_units": [16]}},
    "variants": {"centered": {}},
}
SPACES: dict[str, dict[str, Any]] = {
    "grid": {
        "training": {"epochs": 2, "learning_rate": {"grid_search": [BAD[0], GOOD, BAD[1]]}},
        "trials": 2,
    },
    "sampled": {
        "training": {"epochs": 2, "learning_rate": {"choice": [BAD[0], GOOD, BAD[1]]}},
        "search": {"algorithm": "optuna", "configurations": 6, "trials_each": 3},
        "race": True,
        "confirm": 2,
    },
    "hopeless": {
        "training": {"optimizer": "sgd", "learning_rate": {"loguniform": [1e30, 1e35]}},
        "search": {"algorithm": "random", "configurations": 3, "trials_each": 2},
    },
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A folder with the search spaces above."""
    folder = tmp_path_factory.mktemp("searches")
    for name, keys in SPACES.items():
        write_space(folder / f"{name}.yaml", {"name": name, **SMALL, **keys})
    with opened(folder) as place:
        yield place


def results(place: Place, name: str) -> Path:
    return place.folder / "results" / name


def run(place: Place, name: str) -> Ended:
    return place.run(f"{name}.yaml")


# --- A grid ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grid(place: Place) -> Ended:
    return run(place, "grid")


def test_a_grid_finds_the_planted_learning_rate(place: Place, grid: Ended) -> None:
    assert grid.code == 0, grid
    report = mnist_ray.load_report(results(place, "grid"))
    assert list(report["learning_rate"]) == [BAD[0], GOOD, BAD[1]]
    assert list(report["trials"]) == [2, 2, 2]
    best = report.loc[report["mean_validation_accuracy"].idxmax()]
    assert best["learning_rate"] == GOOD


def test_what_more_trials_would_take_is_reported_from_those_that_ran(
    place: Place, grid: Ended
) -> None:
    assert grid.code == 0, grid
    dry = place.run("grid.yaml", "--trials", "5", "--dry-run", "--hourly-cost", "3.6")
    assert dry.code == 0, dry
    assert "15 trials wanted, 6 already recorded, 9 to run" in dry.output
    for part in ("seconds each", "trials at a time", "GB of memory", "from recorded trials"):
        assert part in dry.output
    assert "at the given hourly cost" in dry.output
    assert place.run("grid.yaml", "--dry-run").output.count("Nothing is missing") == 1


# --- A sampled search ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampled(place: Place) -> Ended:
    return run(place, "sampled")


def test_a_search_finds_the_planted_learning_rate_and_confirms_it(
    place: Place, sampled: Ended
) -> None:
    assert sampled.code == 0, sampled
    report = mnist_ray.load_report(results(place, "sampled"))
    assert list(report["learning_rate"]) == [GOOD, 0.001]  # the winner, and the default
    assert list(report["trials"]) == [2, 2]


def test_confirming_trials_have_seeds_that_the_search_did_not_use(
    place: Place, sampled: Ended
) -> None:
    assert sampled.code == 0, sampled
    trials = mnist_ray.load_trials(results(place, "sampled"))
    winner = trials[trials["learning_rate"] == GOOD]
    assert sorted(winner["trial"]) == [0, 1, 2, 3, 4]
    assert winner["seed"].is_unique
    assert list(trials[trials["learning_rate"] == 0.001]["trial"]) == [3, 4]


def test_what_is_significantly_worse_runs_no_further(place: Place, sampled: Ended) -> None:
    assert sampled.code == 0, sampled
    trials = mnist_ray.load_trials(results(place, "sampled"))
    assert set(trials["status"]) == {"finished"}
    assert set(trials[trials["learning_rate"].isin(BAD)]["trial"]) <= {0, 1, 2}


def test_a_search_that_has_ended_runs_nothing_again(place: Place, sampled: Ended) -> None:
    assert sampled.code == 0, sampled
    again = run(place, "sampled")
    assert again.code == 0, again
    assert again.recorded == []
    assert "records are of trials" not in again.output  # none is left out


# --- Nothing but failures --------------------------------------------------------------------


def test_a_search_whose_configurations_all_failed_says_so_and_ends_with_1(place: Place) -> None:
    ended = run(place, "hopeless")
    assert ended.code == 1, ended
    assert "Traceback" not in ended.errors
    output = ended.output.replace("\n", " ")
    assert (
        "The search for feed_forward on centered digits has no winner: all 3 configurations "
        "failed. The first error: TrainingDivergedError" in output
    )
    assert mnist_ray.load_report(results(place, "hopeless")).empty
    assert set(mnist_ray.load_trials(results(place, "hopeless"))["status"]) == {"failed"}


# --- Refused before anything starts ----------------------------------------------------------


WITHOUT_OPTUNA = (
    "import sys\n"
    "sys.modules['optuna'] = None\n"  # as if it were not installed
    "from mnist_ray.sweep import main\n"
    "code = main(sys.argv[1:])\n"
    "assert 'ray' not in sys.modules\n"
    "sys.exit(code)\n"
)


def test_without_optuna_its_search_is_refused_with_the_command_that_installs_it(
    place: Place, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_OPTUNA, "sampled.yaml", "--results", str(tmp_path / "it")],
        cwd=place.folder,
        env=place.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done
    assert "pip install 'mnist-ray[optuna]'" in done.stderr
    assert "algorithm: random" in done.stderr
    assert not (tmp_path / "it").exists()


def test_from_python_the_same_is_an_exception(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match="Optuna is not installed"):
        mnist_ray.run_sweep(place.folder / "sampled.yaml")


# --- The report of what was interrupted ------------------------------------------------------

MADE_UP: dict[str, Any] = {
    "architectures": {"feed_forward": {"dropout": {"uniform": [0, 0.5]}}, "cnn": {}},
    "training": {"epochs": 2},
    "search": {"algorithm": "random", "configurations": 3, "trials_each": 2},
    "confirm": 2,
    "trials": 2,
}


@pytest.mark.parametrize("recorded", [0, 1, 5, 13, 99])
@pytest.mark.parametrize("fails", [False, True])
def test_a_search_interrupted_anywhere_has_a_report(
    tmp_path: Path, recorded: int, fails: bool
) -> None:
    def ends(trial: Trial) -> Record:
        rng = np.random.default_rng(int(trial.key[:8], 16))
        record = made_up_record(trial, 0.9, test_set=made_up_test_set(), rng=rng)
        return as_failed(record) if fails and trial.cell.builder == "feed_forward" else record

    space = made_up_space(MADE_UP)
    walked = walk(space, ends, stop_after=recorded)
    folder = folder_at(tmp_path)
    MadeUp(space, DATASET_INFO, made_up_test_set(), walked.records).write(folder)
    tables = rebuild(folder)
    assert tables.trials.num_rows == len(walked.records)
    assert {row["architecture"] for row in tables.report.to_pylist()} <= {"feed_forward", "cnn"}
    assert (tmp_path / "report.html").stat().st_size > 0
