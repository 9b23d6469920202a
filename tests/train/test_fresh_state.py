import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from small_trials import DENSE, IMAGES, WITH_DROPOUT, run, state_of, trial_of

from mnist_ray.train import models
from mnist_ray.train.compiled_model import CompiledModelCache
from mnist_ray.train.fresh_state import FreshState, NotReproducibleError
from mnist_ray.train.trial_run import TrialRun

pytestmark = pytest.mark.usefixtures("tensorflow")

SMALL: dict[str, Callable[[], keras.Model]] = {
    "feed_forward": lambda: models.feed_forward((6, 6, 1), 3, hidden_units=[5, 4], dropout=0.3),
    "softmax regression": lambda: models.feed_forward((6, 6, 1), 3, hidden_units=[], dropout=0.0),
    "cnn": lambda: models.cnn(
        (6, 6, 1),
        3,
        filters=[2, 3],
        kernel_size=2,
        pool_size=2,
        pool_stride=1,
        dense_units=4,
        dropout=0.5,
    ),
}


def built(build: Callable[[], keras.Model], seed: int) -> keras.Model:
    random.seed(seed)
    return build()


def content(model: keras.Model) -> list[bytes]:
    return [variable.numpy().tobytes() for variable in model.variables]


def generators_state(model: keras.Model) -> list[Any]:
    return [v.numpy().tolist() for v in model.variables if v.path.endswith("seed_generator_state")]


def spoiled(build: Callable[[], keras.Model], seed: int) -> tuple[keras.Model, FreshState]:
    """A model that has changed since it was built."""
    model = built(build, seed)
    fresh_state = FreshState(model, [], seed=seed, dropout_seed=seed)
    for variable in model.variables:
        variable.assign(variable + 1)
    return model, fresh_state


@pytest.fixture
def policy_restored() -> Iterator[None]:
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


def test_every_built_in_architecture_is_compared() -> None:
    assert {built(build, 0).name for build in SMALL.values()} == set(models.BUILT_IN)


@pytest.mark.usefixtures("policy_restored")
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", SMALL)
def test_a_model_is_set_back_to_the_bits_of_a_new_one(name: str, precision: str) -> None:
    keras.config.set_dtype_policy(precision)
    build = SMALL[name]
    model, fresh_state = spoiled(build, 7)
    for seed in (7, 8, 2**63 + 11):
        fresh_state.restart(seed, seed)
        assert content(model) == content(built(build, seed))


@pytest.mark.parametrize("name", ["feed_forward", "cnn"])
def test_dropout_may_have_a_seed_of_its_own(name: str) -> None:
    build = SMALL[name]
    model, fresh_state = spoiled(build, 7)
    fresh_state.restart(8, 9)
    assert generators_state(model) == generators_state(built(build, 9))
    assert generators_state(model) != generators_state(built(build, 8))
    for mine, expected in zip(model.weights, built(build, 8).weights, strict=True):
        if not mine.path.endswith("seed_generator_state"):
            np.testing.assert_array_equal(mine.numpy(), expected.numpy())


def of_two_layers(**first: Any) -> keras.Model:
    layers = [keras.Input((4,)), keras.layers.Dense(3, **first), keras.layers.Dense(2)]
    return keras.Sequential(layers)


class Counted(keras.layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.count = self.add_weight(shape=(), initializer="zeros", name="number")

    def call(self, inputs: Any) -> Any:
        return inputs + self.count


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: of_two_layers(kernel_initializer=keras.initializers.GlorotUniform(3)), "begins"),
        (lambda: (random.random(), of_two_layers())[1], "begins"),
        (lambda: keras.Sequential([keras.Input((4,)), Counted()]), "no layer says"),
    ],
    ids=["a fixed seed", "other draws", "no initializer is known"],
)
def test_what_cannot_be_shown_to_be_equal_is_refused(
    build: Callable[[], keras.Model], reason: str
) -> None:
    _, fresh_state = spoiled(build, 2)
    with pytest.raises(NotReproducibleError, match=reason):
        fresh_state.restart(3, 3)


# In trials


def state(started: TrialRun) -> list[bytes]:
    return [variable.tobytes() for variable in state_of(started)]


@pytest.mark.parametrize(
    ("architecture", "training"),
    [
        (DENSE, {"optimizer": "adam"}),
        (WITH_DROPOUT, {"optimizer": "rmsprop", "precision": "mixed_float16"}),
        (DENSE, {"optimizer": "adagrad", "jit_compile": True}),
        (DENSE, {"optimizer": "schedulefreeadamw"}),
        (DENSE, {"optimizer": {"name": "nadam", "use_ema": True, "weight_decay": 0.1}}),
    ],
)
def test_later_trials_begin_as_the_first_in_a_process_and_build_no_model(
    architecture: dict[str, Any], training: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(index: int, compiled_models: CompiledModelCache) -> TrialRun:
        trial = trial_of(architecture, index=index, **training)
        return TrialRun(trial, IMAGES, compiled_models=compiled_models)

    expected = [state(started(index, CompiledModelCache())) for index in (1, 2, 3)]
    compiled_models = CompiledModelCache()
    run(trial_of(architecture, **training), compiled_models)
    monkeypatch.setattr(models, "build", None)
    assert state(started(1, compiled_models)) == expected[0]
    for index in (2, 3):
        run(trial_of(architecture, index=index + 10, **training), compiled_models)
        assert state(started(index, compiled_models)) == expected[index - 1]
