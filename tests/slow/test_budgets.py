"""How well a budget is spent, by simulation; the figures stand in docs/statistics.md."""

import numpy as np
import pytest
from budget_draws import Draw, bell, skewed, spend, with_bad_trials


@pytest.mark.parametrize("draw", [bell, skewed, with_bad_trials])
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_reported_intervals_cover_and_the_widest_is_no_wider_than_with_equal_numbers(
    draw: Draw, spread: float
) -> None:
    spent = spend(draw, draws=500, seed=1, spread=spread)
    coverage = spent.covered.mean()
    error = np.sqrt(coverage * (1 - coverage) / spent.covered.size)
    print(
        f"{draw.__name__}, spread {spread}: covers {coverage:.4f} ± {error:.4f} "
        f"(equal numbers: {spent.covered_equal.mean():.4f}); widest / widest of equal numbers: "
        f"mean {spent.ratios.mean():.3f} ± {spent.ratios.std() / np.sqrt(len(spent.ratios)):.3f}, "
        f"median {np.median(spent.ratios):.3f}, at most 1 in {(spent.ratios <= 1).mean():.3f}"
    )
    assert coverage + 2 * error > 0.94
    assert spent.ratios.mean() < 1
    if spread:
        assert np.median(spent.ratios) < 0.9
