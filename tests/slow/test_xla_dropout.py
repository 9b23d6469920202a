"""With dropout, XLA draws other masks than the plain graph, from the same distribution."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from small_trials import CONVOLUTIONAL, DENSE, run, trial_of

from mnist_ray.train.compiled_model import CompiledModelCache

pytestmark = pytest.mark.usefixtures("tensorflow")

TRIALS = 20
FALSE_ALARMS = 0.001
"""The probability that `differ` sees a difference where there is none. The seeds are fixed, so that
every run of the test gives the same answer."""


def figures(architecture: dict[str, Any], **training: Any) -> NDArray[np.float64]:
    """Training loss, training accuracy and test loss of each trial, [TRIALS, 3]."""
    compiled_models = CompiledModelCache()
    rows = []
    for index in range(TRIALS):
        trained = run(trial_of(architecture, index=index, epochs=3, **training), compiled_models)
        last, test = trained.epochs[-1], trained.evaluate(trained.trial.cell.shift)
        rows.append([last.train_loss, last.train_accuracy, test.loss])
    return np.array(rows)


def differ(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> bool:
    """Whether any figure differs between two sets of trials with the same seeds.

    Trials are paired by their seeds, and differ in their masks alone. Where the masks have one
    distribution, the differences are symmetric about 0: the hypothesis of Wilcoxon's signed-rank
    test. Levene's test compares the spreads. Bonferroni's correction is for all six p-values.
    """
    of_means = stats.wilcoxon(ours, theirs, axis=0).pvalue
    of_spreads = [stats.levene(*pair).pvalue for pair in zip(ours.T, theirs.T, strict=True)]
    p_values = [*of_means, *of_spreads]
    return min(p_values) < FALSE_ALARMS / len(p_values)


@pytest.mark.parametrize(
    "architecture",
    [DENSE, {**CONVOLUTIONAL, "dense_units": 32}],
    ids=["dense", "convolutional"],
)
def test_with_dropout_xla_trains_as_the_plain_graph_in_distribution(
    architecture: dict[str, Any],
) -> None:
    plain = figures({**architecture, "dropout": 0.4}, jit_compile=False)
    with_xla = figures({**architecture, "dropout": 0.4}, jit_compile=True)
    assert not np.allclose(with_xla, plain, rtol=1e-3)  # Masks do differ.
    assert not differ(with_xla, plain)
    other_rate = figures({**architecture, "dropout": 0.8}, jit_compile=False)
    assert differ(other_rate, plain)  # So many trials suffice to see one.
