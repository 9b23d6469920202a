"""Over many made-up searches: what confirmation corrects, and what a race costs."""

import math

import numpy as np
import pytest
from made_up_searches import search_space, searches_of, truth
from walking import Walk, finished, noise, run_at_once

from mnist_ray.ledger.record import Record
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import Space

SIMULATED = 200
STD = 0.004


def simulated_space(seed: int, *, race: bool) -> Space:
    """20 learning rates, drawn evenly over four decades."""
    changes = {
        "seed": seed,
        "race": race,
        "confirm": 10,
        "architectures": {"feed_forward": {}},
        "variants": {"centered": {}},
    }
    return search_space(changes, configurations=20, trials_each=10)


def simulated(trial: Trial) -> Record:
    """Noise of which half the variance is shared by equal trials, as they share their seeds."""
    shared = np.random.default_rng([trial.seed, trial.index]).normal(0, STD / math.sqrt(2))
    return finished(trial, truth(trial.cell) + float(shared) + noise(trial, STD / math.sqrt(2)))


@pytest.fixture(scope="module")
def simulations() -> list[tuple[Walk, Walk]]:
    """Searches of full replication, and the same ones raced."""
    pairs = []
    for seed in range(SIMULATED):
        whole = run_at_once(simulated_space(seed, race=False), simulated)
        raced = run_at_once(simulated_space(seed, race=True), simulated, records=whole.records)
        pairs.append((whole, raced))
    return pairs


def test_the_confirmed_mean_is_unbiased_and_the_searchs_own_is_optimistic(
    simulations: list[tuple[Walk, Walk]],
) -> None:
    errors: dict[str, list[float]] = {"search": [], "confirmed": []}
    for whole, _ in simulations:
        [search] = searches_of(whole)
        assert search.winner is not None
        scores = [
            whole.records[trial.key].validation_accuracy or 0.0
            for trial in search.confirmation
            if trial.cell == search.winner.cell
        ]
        assert len(scores) == 10
        expected = truth(search.winner.cell)
        errors["search"].append((search.winner.mean or 0.0) - expected)
        errors["confirmed"].append(float(np.mean(scores)) - expected)
    sem = {name: np.std(own, ddof=1) / math.sqrt(SIMULATED) for name, own in errors.items()}
    assert abs(np.mean(errors["confirmed"])) < 2 * sem["confirmed"]
    assert np.mean(errors["search"]) > 4 * sem["search"]


def test_a_race_finds_the_winner_of_full_replication_for_half_the_trials(
    simulations: list[tuple[Walk, Walk]],
) -> None:
    same = [
        searches_of(whole)[0].winner.number == searches_of(raced)[0].winner.number  # type: ignore[union-attr]
        for whole, raced in simulations
    ]
    spent = [len(raced.plan.searched) / len(whole.plan.searched) for whole, raced in simulations]
    assert np.mean(same) >= 0.95
    assert np.mean(spent) <= 0.5
