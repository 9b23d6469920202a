"""Races against scipy's paired t test and simulations."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import pairs, repeatable
from scipy import stats

from mnist_ray.stats.racing import survivors


def significantly_worse(candidate: Sequence[float], best: Sequence[float], *, looks: int) -> bool:
    return 1 not in survivors([best, candidate], looks=looks)


@repeatable
@given(pairs(min_size=2), st.integers(1, 8))
def test_doubt_is_a_one_sided_paired_t_test(couples: list[tuple[float, float]], looks: int) -> None:
    best, candidate = zip(*couples, strict=True)
    differences = {round(1000 * x) - round(1000 * y) for x, y in couples}
    if len(differences) == 1:
        return  # no t; see below
    p_value = stats.ttest_rel(best, candidate, alternative="greater").pvalue
    assert significantly_worse(candidate, best, looks=looks) == (p_value <= 0.05 / looks)


def test_one_trial_drops_none_and_the_better_one_never_drops_out() -> None:
    best, candidate = [0.90, 0.93, 0.91], [0.70, 0.74, 0.71]
    assert significantly_worse(candidate, best, looks=8)
    assert not significantly_worse(candidate[:1], best[:1], looks=8)
    assert not significantly_worse(best, candidate, looks=8)


def test_equal_differences_are_doubted_until_there_are_many() -> None:
    best, candidate = [0.3, 0.8, 0.5, 0.4, 0.6], [0.2, 0.7, 0.4, 0.3, 0.5]
    assert not significantly_worse(candidate[:4], best[:4], looks=1)  # 2⁻⁴ > 0.05
    assert significantly_worse(candidate, best, looks=1)
    assert not significantly_worse(candidate, best, looks=2)  # 2⁻⁵ > 0.025


def test_a_candidate_as_good_as_the_best_is_called_worse_within_the_level() -> None:
    generator = np.random.default_rng(7)
    wrongly = 0
    for best, candidate in generator.normal(0.95, 0.004, (2_000, 2, 10)):
        wrongly += any(significantly_worse(candidate[:n], best[:n], looks=8) for n in range(2, 10))
    assert wrongly / 2_000 <= 0.05


def test_the_clearly_worse_drop_out_and_the_rest_stay() -> None:
    scores = [[0.95, 0.96, 0.95], [0.50, 0.53, 0.51], [0.94, 0.97, 0.95]]
    assert survivors(scores, looks=3) == {0, 2}
    assert survivors([], looks=3) == set()


@pytest.mark.parametrize("looks", [0, -1])
def test_looks_that_make_no_sense_are_refused(looks: int) -> None:
    with pytest.raises(ValueError, match="looks="):
        survivors([[0.9]], looks=looks)
