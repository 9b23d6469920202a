"""The doctor trains for real, on this machine's CPUs."""

from dataclasses import replace

import pytest

from mnist_ray.run.connection import this_machine
from mnist_ray.run.device_trials import try_trials
from mnist_ray.space.space import load_space

TINY = {
    "feed_forward": {"hidden_units": [8]},
    "cnn": {
        "filters": [2, 2],
        "kernel_size": 3,
        "pool_size": 2,
        "pool_stride": 2,
        "dense_units": 4,
        "dropout": 0.5,
    },
}


@pytest.mark.parametrize("architecture", TINY)
def test_an_architecture_trains_in_every_precision_with_xla_and_without(architecture: str) -> None:
    cells = [
        replace(cell, hyperparameters={**cell.hyperparameters, **TINY[architecture]})
        for cell in load_space("notebook").cells((28, 28))
        if (cell.architecture, cell.shift) == (architecture, 0)
    ]
    trained = try_trials(this_machine(), gpus=False, cells=cells)
    assert [trial.result for trial in trained.trials if isinstance(trial.result, str)] == []
    assert len(trained.trials) == 6
    assert [trial.remark for trial in trained.trials] == [""] * 6  # XLA compiles all of them
    assert all(trial.row["fit"] != "0" for trial in trained.trials)
    assert "at a time" in trained.explanation
