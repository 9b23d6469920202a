import json
from typing import Any

import keras
import numpy as np
import pytest
from small_trials import DENSE, IMAGES, WITH_DROPOUT, cell_results, checkpoint_of, run, trial_of

from mnist_ray.space.training import Training
from mnist_ray.train.compiled_model import CompiledModelCache
from mnist_ray.train.learning_rates import learning_rates
from mnist_ray.train.trial_run import TrialRun

pytestmark = pytest.mark.usefixtures("tensorflow")

COSINE = {"schedule": "CosineDecay", "initial_learning_rate": 0.03, "decay_steps": "training"}


def rates_of(epochs: int = 2, **schedule: Any) -> list[list[float]]:
    """Of each epoch of 5 steps."""
    training = Training.model_validate({"epochs": epochs, "learning_rate": schedule})
    return [learning_rates(training, 150, epoch).tolist() for epoch in range(epochs)]


@pytest.mark.parametrize(
    "schedule",
    [
        COSINE | {"decay_steps": 7, "alpha": 0.1, "warmup_steps": 3, "warmup_target": 0.1},
        {"schedule": "CosineDecayRestarts", "initial_learning_rate": 0.1, "first_decay_steps": 3},
        {
            "schedule": "ExponentialDecay",
            **{"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.5},
            "staircase": True,
        },
        {
            "schedule": "InverseTimeDecay",
            **{"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.5},
        },
        {"schedule": "PiecewiseConstantDecay", "boundaries": [2, 6], "values": [0.3, 0.2, 0.1]},
        {
            "schedule": "PolynomialDecay",
            **{"initial_learning_rate": 0.1, "decay_steps": 6, "power": 2.0},
        },
    ],
    ids=lambda schedule: schedule["schedule"],
)
def test_every_schedule_gives_keras_own_rates_over_all_epochs(schedule: dict[str, Any]) -> None:
    arguments = {key: value for key, value in schedule.items() if key != "schedule"}
    own = getattr(keras.optimizers.schedules, schedule["schedule"])(**arguments)
    expected = [float(own(step)) for step in range(10)]
    np.testing.assert_allclose(np.ravel(rates_of(**schedule)), expected, rtol=1e-6)


@pytest.mark.parametrize(("words", "steps"), [("epoch", 5), ("training", 15)])
def test_words_stand_for_the_steps_that_there_are(words: str, steps: int) -> None:
    assert rates_of(3, **(COSINE | {"decay_steps": words})) == rates_of(
        3, **(COSINE | {"decay_steps": steps})
    )


def test_words_may_stand_among_boundaries() -> None:
    schedule = {"schedule": "PiecewiseConstantDecay", "values": [0.3, 0.2, 0.1]}
    worded = rates_of(3, **schedule, boundaries=["epoch", "training"])
    assert worded == rates_of(3, **schedule, boundaries=[5, 15])


def test_a_number_is_the_rate_of_every_step() -> None:
    training = Training.model_validate({"learning_rate": 0.25, "batch_size": 8})
    assert learning_rates(training, 33, 0).tolist() == [0.25] * 5


@pytest.mark.parametrize("more", [{}, {"jit_compile": True}])
def test_a_constant_schedule_trains_as_the_number_does(more: dict[str, Any]) -> None:
    constant = {"schedule": "PiecewiseConstantDecay", "boundaries": [1], "values": [0.01, 0.01]}
    with_schedule = run(trial_of(DENSE, learning_rate=constant, epochs=2, **more))
    with_number = run(trial_of(DENSE, learning_rate=0.01, epochs=2, **more))
    assert cell_results(with_schedule) == cell_results(with_number)


def test_a_kept_program_starts_the_schedule_anew_and_may_have_another() -> None:
    other = COSINE | {"initial_learning_rate": 0.001}
    trials = [
        trial_of(WITH_DROPOUT, index=index, learning_rate=rate, epochs=2)
        for index, rate in enumerate([COSINE, other, COSINE, 0.02])
    ]
    compiled_models = CompiledModelCache()
    for trial in trials:
        assert cell_results(run(trial, compiled_models)) == cell_results(run(trial))


def test_a_trial_goes_on_elsewhere_with_the_rest_of_its_schedule() -> None:
    training = {"optimizer": {"name": "sgd", "momentum": 0.9, "use_ema": True}}
    trial = trial_of(DENSE, learning_rate=COSINE, epochs=3, **training)
    begun = TrialRun(trial, IMAGES, compiled_models=CompiledModelCache())
    begun.train_epoch()
    elsewhere = TrialRun(trial, IMAGES, compiled_models=CompiledModelCache())
    elsewhere.restore(checkpoint_of(begun))
    while not elsewhere.is_trained:
        elsewhere.train_epoch()
    assert cell_results(elsewhere) == cell_results(run(trial))
    assert json.dumps(trial.identity["training"]["learning_rate"]) == json.dumps(COSINE)
