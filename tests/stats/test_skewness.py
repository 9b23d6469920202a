"""The rule for left-skewed accuracies against simulations and plain cases."""

import numpy as np
import pytest
from samples import covers

from mnist_ray.stats.summary import looks_left_skewed, summarize

SAMPLES = 4_000


@pytest.mark.parametrize("trials", [4, 5, 8, 20])
@pytest.mark.parametrize("step", [1e-4, 0.002])
def test_one_normal_sample_in_a_hundred_looks_skewed(trials: int, step: float) -> None:
    samples = np.random.default_rng(trials).normal(0.95, 0.004, (SAMPLES, trials))
    rounded = np.round(samples / step) * step
    alarms = np.mean([looks_left_skewed(sample, step=step) for sample in rounded])
    assert 0.003 <= alarms <= 0.017


def test_one_bad_trial_among_five_is_recognised() -> None:
    good = [0.951, 0.953, 0.950, 0.952]
    assert looks_left_skewed([*good, 0.852], step=1e-4)
    assert looks_left_skewed([*good[:3], 0.852], step=1e-4)
    assert not looks_left_skewed(good, step=1e-4)


def test_several_bad_trials_do_not_hide_each_other() -> None:
    good = np.random.default_rng(1).normal(0.95, 0.004, 17)
    assert looks_left_skewed([*good, 0.84, 0.85, 0.86], step=1e-4)


def test_a_long_tail_to_the_left_is_recognised_and_one_to_the_right_is_not() -> None:
    tail = np.random.default_rng(2).exponential(0.004, 50)
    assert looks_left_skewed(0.96 - tail, step=1e-4)
    assert not looks_left_skewed(0.9 + tail, step=1e-4)


def test_one_or_two_images_less_are_no_skewness() -> None:
    step = 1 / 360
    assert not looks_left_skewed([0.95] * 9 + [0.95 - 2 * step], step=step)
    assert looks_left_skewed([0.95] * 9 + [0.95 - 3 * step], step=step)


@pytest.mark.parametrize("values", [[], [0.9], [0.9, 0.9, 0.1], [0.9] * 10])
def test_too_few_trials_or_equal_ones_show_no_shape(values: list[float]) -> None:
    assert not looks_left_skewed(values, step=1e-4)


@pytest.mark.parametrize(("trials", "documented"), [(3, 79), (5, 56), (20, 64)])
def test_coverage_with_rare_bad_trials_is_as_documented(trials: int, documented: float) -> None:
    generator = np.random.default_rng(16)
    normal = generator.normal(0.95, 0.004, (SAMPLES, trials))
    samples = normal - 0.1 * (generator.random((SAMPLES, trials)) < 0.05)
    covered = 100 * np.mean([covers(summarize(sample), 0.945) for sample in samples])
    assert covered == pytest.approx(documented, abs=3 * 100 * (0.25 / SAMPLES) ** 0.5)
