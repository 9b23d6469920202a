import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_accuracies import RECORDED
from scipy import stats

from mnist_ray.stats.summary import summarize
from mnist_ray.stats.variance import variance_shares

SUMMED = frozenset({"weights", "shuffling"})


def by_index(values: np.ndarray, *, first: int = 0) -> dict[int, float]:
    return dict(enumerate(values.tolist(), start=first))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_the_interval_is_that_of_chi_square(values: list[float]) -> None:
    known = summarize(values)
    assert known.n == len(values)
    assert known.std == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    if known.std_ci95_low is None:
        assert np.ptp(values) < 1e-9
        return
    variance, degrees = known.std**2, known.n - 1
    low, high = stats.chi2.ppf([0.025, 0.975], degrees)
    assert known.std_ci95_low**2 == pytest.approx(degrees * variance / high)
    assert known.std_ci95_high**2 == pytest.approx(degrees * variance / low)


def test_a_spread_needs_two_values_and_equal_ones_have_no_interval() -> None:
    assert (summarize([]).std, summarize([0.9]).std) == (None, None)
    assert (summarize([0.9] * 3).std, summarize([0.9] * 3).std_ci95_low) == (0.0, None)


def test_a_share_is_a_ratio_of_variances_and_their_sum_leaves_the_sample_out() -> None:
    ordinary = np.array([0.90, 0.92, 0.94, 0.96])
    varied = {
        "weights": by_index(np.array([0.90, 0.91, 0.92, 0.93]), first=1),
        "shuffling": by_index(np.array([0.93, 0.93, 0.93, 0.93]), first=1),
        "sample": by_index(np.array([0.90, 0.92, 0.94, 0.96]), first=1),
    }
    shares = variance_shares(by_index(ordinary), varied, summed=SUMMED)
    assert shares is not None
    assert shares.together is not None
    values = {source: share.value for source, share in shares.sources.items()}
    assert values == pytest.approx({"weights": 0.25, "shuffling": 0.0, "sample": 1.0})
    assert shares.together.value == pytest.approx(0.25)
    assert shares.sources["shuffling"].ci95_low is None
    assert shares.sources["sample"].largest_rate is None
    assert shares.sources["weights"].largest_rate == pytest.approx(1, abs=0.05)


def test_without_a_summarize_all_there_are_no_shares() -> None:
    equal = {0: 0.9, 1: 0.9, 2: 0.9}
    varied = {"weights": {1: 0.9, 2: 0.8, 3: 0.7}}
    assert variance_shares(equal, varied, summed=SUMMED) is None
    assert variance_shares({0: 0.9}, varied, summed=SUMMED) is None


def test_equal_trials_give_equal_intervals_however_they_are_ordered() -> None:
    rng = np.random.default_rng(5)
    ordinary, weights = by_index(rng.normal(size=9)), by_index(rng.normal(size=9), first=1)
    backwards = dict(reversed(weights.items()))
    both = (variance_shares(ordinary, {"weights": w}, summed=SUMMED) for w in (weights, backwards))
    first, again = both
    assert first == again


def test_what_a_trial_shares_with_the_ordinary_one_narrows_the_interval() -> None:
    """A source that has all of the variance differs by nothing but the trials it is taken over."""
    rng = np.random.default_rng(2)
    draws = rng.normal(size=31)
    ordinary, own = by_index(draws[:30]), by_index(draws[1:], first=1)
    apart = by_index(rng.permutation(draws[1:]), first=1)

    def width(varied: dict[int, float]) -> float:
        shares = variance_shares(ordinary, {"weights": varied}, summed=SUMMED)
        assert shares is not None
        low, high = shares.sources["weights"].ci95_low, shares.sources["weights"].ci95_high
        assert low is not None
        assert high is not None
        return high / low

    assert width(own) < 0.7 * width(apart)


def test_shares_cover_the_truth_about_as_often_as_they_say() -> None:
    """In trials that add up 60 % of the variance by weights, and 40 % by shuffling."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(150):
        weights, shuffling = np.sqrt(0.6) * rng.normal(size=21), np.sqrt(0.4) * rng.normal(size=21)
        shares = variance_shares(
            by_index((weights + shuffling)[:20]),
            {
                "weights": by_index(weights[1:], first=1),
                "shuffling": by_index(shuffling[1:], first=1),
            },
            summed=SUMMED,
        )
        assert shares is not None
        assert shares.together is not None
        truths = (shares.sources["weights"], 0.6), (shares.sources["shuffling"], 0.4)
        for share, truth in (*truths, (shares.together, 1.0)):
            assert share.ci95_low is not None
            assert share.ci95_high is not None
            covered.append(share.ci95_low <= truth <= share.ci95_high)
    assert 0.88 < np.mean(covered) < 0.98


@pytest.mark.parametrize("cell", RECORDED)
def test_of_recorded_accuracies_the_interval_covers_the_spread_less_often(cell: str) -> None:
    """The accuracies of real trials are nearly, not quite, normal: see docs/statistics.md."""
    population = np.array(RECORDED[cell])
    rng = np.random.default_rng(0)
    truth = population.std()
    samples = rng.choice(population, (2000, 20))
    covered = [
        known.std_ci95_low is not None and known.std_ci95_low <= truth <= (known.std_ci95_high or 0)
        for known in map(summarize, samples)
    ]
    assert 0.75 < np.mean(covered) < 0.98
