"""The coverage of the intervals of differences is as docs/statistics.md has it."""

import numpy as np
import pytest
from samples import covers

from mnist_ray.stats.comparison import compare

REPETITIONS = 5_000
DOCUMENTED = {
    (5, 0.0): [95.0, 95.2, 94.9],
    (5, 0.05): [95.2, 95.7, 96.6],
    (5, 0.1): [95.8, 96.4, 97.5],
    (40, 0.0): [94.3, 94.6, 94.1],
    (40, 0.05): [94.1, 94.4, 94.2],
    (40, 0.1): [93.9, 94.3, 93.9],
}
"""By the trials of b (a has five) and the share that fails; for correlations of 0, 0.5, 0.9."""


@pytest.mark.parametrize(("n_b", "failing"), DOCUMENTED)
@pytest.mark.parametrize("column", [0, 1, 2])
def test_differences_are_covered_as_documented(n_b: int, failing: float, column: int) -> None:
    generator = np.random.default_rng([n_b, int(100 * failing), column])
    correlation = (0.0, 0.5, 0.9)[column]
    covered = [
        covered
        for _ in range(REPETITIONS)
        if (covered := _is_covered(generator, n_b, failing, correlation)) is not None
    ]
    tolerance = 4 * 100 * (0.05 * 0.95 / REPETITIONS) ** 0.5
    assert 100 * np.mean(covered) == pytest.approx(DOCUMENTED[n_b, failing][column], abs=tolerance)


def _is_covered(
    generator: np.random.Generator, n_b: int, failing: float, correlation: float
) -> bool | None:
    """None where fewer than two trials of a side are left."""
    a, noise = generator.standard_normal((2, n_b))
    b = correlation * a + (1 - correlation**2) ** 0.5 * noise
    left_a, left_b = generator.random((2, n_b)) >= failing
    left_a &= np.arange(n_b) < 5
    if min(left_a.sum(), left_b.sum()) < 2:
        return None
    both = left_a & left_b
    interval = compare(
        [*a[both], *a[left_a & ~both]], [*b[both], *b[left_b & ~both]], pairs=int(both.sum())
    )
    return covers(interval, 0.0)
