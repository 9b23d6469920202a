"""How much of the variance over trials is due to the test set alone.

With R trials, N examples and p̂ᵢ the share of trials that are right on example i:

- Independent errors give a standard deviation of √(Σ p̂ᵢ(1 - p̂ᵢ) · R/(R-1)) / N. The factor R/(R-1)
  makes each variance unbiased, as ddof 1 does for the observed one.
- The excess variance is N/(N-1) · (observed variance - that of independent errors). Its mean over
  test sets is the variance on the distribution (arXiv 2304.01910, Theorem 2): what is left are the
  covariances of N(N-1) pairs of examples, each equal to that variance on average, divided by N².
- The test set's standard error is the standard deviation of p̂ᵢ over examples, divided by √N. With
  few trials it is slightly too large, since p̂ᵢ then has noise of its own.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_ray.stats.summary import FloatArray, checked_sample, sample_std


@dataclass(frozen=True)
class VarianceDecomposition:
    """Below two trials all figures but the counts are None."""

    trials: int
    examples: int
    observed_std: float | None
    """Standard deviation of the accuracies over trials, ddof 1."""
    independent_error_std: float | None
    """What it would be if the trials' errors on each example were independent."""
    excess_variance: float | None
    """Estimated variance of the accuracies on the distribution that the test set was drawn from.
    Unbiased, and therefore sometimes negative. None below two examples."""
    test_set_sem: float | None
    """Standard error of the mean accuracy that comes from the size of the test set: the part that
    more trials never reduce. None below two examples."""


def decompose_variance_from_counts(
    correct_counts: ArrayLike, accuracies: ArrayLike
) -> VarianceDecomposition:
    """The decomposition of the variance, from sums over trials and over examples.

    Args:
        correct_counts: int[N], for each example the number of trials that are right.
        accuracies: float64[R], the accuracy of each trial.

    Raises:
        ValueError: a wrong shape, no examples, or counts that do not fit these accuracies.
    """
    counts, observed = np.asarray(correct_counts), checked_sample(accuracies)
    _check_counts(counts, observed)
    trials, examples = observed.size, counts.size
    if trials < 2:
        return VarianceDecomposition(trials, examples, None, None, None, None)
    shares = counts / trials
    spread = float((shares * (1 - shares)).sum())
    independent_variance = spread * trials / (trials - 1) / examples**2
    observed_std = sample_std(observed)
    excess = test_set_sem = None
    if examples > 1:
        excess = (observed_std**2 - independent_variance) * examples / (examples - 1)
        test_set_sem = sample_std(shares) / sqrt(examples)
    return VarianceDecomposition(
        trials, examples, observed_std, sqrt(independent_variance), excess, test_set_sem
    )


def _check_counts(counts: NDArray[np.generic], accuracies: FloatArray) -> None:
    if counts.ndim != 1 or counts.size == 0 or not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"correct_counts: {counts.dtype}{counts.shape}, not int[examples]")
    total = counts.astype(np.float64)
    if total.min() < 0 or total.max() > accuracies.size:
        raise ValueError(f"correct_counts: must be from 0 to the {accuracies.size} trials")
    if not np.isclose(total.mean(), accuracies.sum(), rtol=1e-6, atol=1e-6):
        raise ValueError("correct_counts and accuracies: must be of the same trials")
