from typing import Any

import pytest
from made_up import made_up_space

from mnist_ray.errors import InputError
from mnist_ray.space.space import Cell
from mnist_ray.train.training_check import check_trainings

COSINE = {"schedule": "CosineDecay", "initial_learning_rate": 0.003}


def cells_of(**training: Any) -> list[Cell]:
    return made_up_space({"training": training}).cells((8, 8))


def test_plain_trainings_need_no_check() -> None:
    check_trainings(cells_of(optimizer="lion"), train_images=100)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            {"optimizer": {"grid_search": ["adam", {"name": "sgd", "momentum": 2}]}},
            r'training.optimizer: Keras can.t use .*"momentum": 2.*ValueError.*momentum',
        ),
        (
            {"learning_rate": {**COSINE, "decay_steps": {"grid_search": ["epoch", 0]}}},
            r"training.learning_rate: .*CosineDecay.*",
        ),
        (
            {"learning_rate": {**COSINE, "decay_steps": 2, "alpha": -1.0}},
            r"gives -.* in step [23] of epoch 1; .* at least 0",
        ),
    ],
    ids=["an argument that Keras refuses", "no steps", "a negative rate"],
)
def test_what_keras_cannot_use_is_refused_before_anything_starts(
    training: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_trainings(cells_of(**training), train_images=100)
