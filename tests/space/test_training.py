"""Keras' optimizers and schedules in a search space."""

from typing import Any

import pytest
from made_up import made_up_space

from mnist_ray.errors import ErrorCollector, InputError
from mnist_ray.space.space import Space

COSINE = {"schedule": "CosineDecay", "initial_learning_rate": 0.003, "decay_steps": "epoch"}
SEARCH = {"search": {"algorithm": "random", "configurations": 3, "trials_each": 2}}


def space_of(training: dict[str, Any], **more: Any) -> Space:
    architectures = more.pop("architectures", {"feed_forward": {}})
    variants = {"centered": {}}
    sections = {"architectures": architectures, "variants": variants, "training": training}
    return made_up_space(sections | more)


def columns_of(training: dict[str, Any]) -> list[dict[str, Any]]:
    plain = space_of({}).cells((8, 8))[0].columns()
    cells = space_of(training).cells((8, 8))
    return [{k: v for k, v in c.columns().items() if plain.get(k, "none") != v} for c in cells]


def test_arguments_are_columns() -> None:
    assert columns_of({"optimizer": {"name": "adamw", "weight_decay": 0.01}}) == [
        {"optimizer": "adamw", "weight_decay": 0.01}
    ]
    assert columns_of({"learning_rate": COSINE}) == [{"learning_rate": None, **COSINE}]


def test_arguments_may_be_grids_and_so_may_whole_optimizers_and_schedules() -> None:
    momentum = {"grid_search": [0.5, 0.9]}
    assert columns_of({"optimizer": {"name": "sgd", "momentum": momentum}}) == [
        {"optimizer": "sgd", "momentum": 0.5},
        {"optimizer": "sgd", "momentum": 0.9},
    ]
    optimizers = {"grid_search": ["adam", {"name": "sgd", "momentum": 0.9}]}
    assert columns_of(
        {"optimizer": optimizers, "learning_rate": {"grid_search": [0.1, COSINE]}}
    ) == [
        {"learning_rate": 0.1},
        {"learning_rate": None, **COSINE},
        {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.1},
        {"optimizer": "sgd", "momentum": 0.9, "learning_rate": None, **COSINE},
    ]


def test_arguments_are_searched_and_keras_own_defaults_are_the_default() -> None:
    decay, rate = {"uniform": [0.0, 0.1]}, {"loguniform": [1e-4, 1e-2]}
    training = {
        "optimizer": {"name": "adamw", "weight_decay": decay},
        "learning_rate": {**COSINE, "initial_learning_rate": rate},
    }
    space = space_of(training, **SEARCH)
    (distributions,) = space.search_spaces().values()
    assert {k: each.to_data() for k, each in distributions.items()} == {
        "weight_decay": decay,
        "initial_learning_rate": rate,
    }
    drawn = {"weight_decay": 0.05, "initial_learning_rate": 0.002}
    bound = space.bind("feed_forward", "centered", drawn, (8, 8)).training
    assert bound.to_data()["optimizer"] == {"name": "adamw", "weight_decay": 0.05}
    assert bound.to_data()["learning_rate"] == {**COSINE, "initial_learning_rate": 0.002}
    default = space.bind("feed_forward", "centered", {}, (8, 8)).training
    assert default.to_data()["optimizer"] == "adamw"


@pytest.mark.parametrize(
    "training",
    [
        {"optimizer": {"name": "sgd", "momentum": {"grid_search": [0.5, 0.9]}}},
        {"optimizer": {"grid_search": ["adam", {"name": "sgd", "momentum": 0.9}]}},
        {"learning_rate": COSINE, "optimizer": "muon"},
    ],
)
def test_a_space_is_read_back_from_what_it_writes(training: dict[str, Any]) -> None:
    space = space_of(training)
    assert Space.read(space.to_data(), ErrorCollector(), source=None) == space


def test_an_optimizer_without_arguments_is_its_name() -> None:
    (cell,) = space_of({"optimizer": {"name": "adam"}}).cells((8, 8))
    (plain,) = space_of({}).cells((8, 8))
    assert cell.training_identity == plain.training_identity
    assert cell.training_identity["optimizer"] == "adam"


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"optimizer": "adm"}, 'optimizer: got "adm" (did you mean "adam"?)'),
        ({"optimizer": {"name": "adm"}}, 'optimizer.name: got "adm" (did you mean "adam"?)'),
        ({"optimizer": {"nme": "adam"}}, 'optimizer: got {"nme": "adam"}; allowed: adam, adamw'),
        ({"optimizer": {"name": "adam", "beta1": 0.5}}, 'Adam "beta1" (did you mean "beta_1"?)'),
        ({"optimizer": {"name": "sgd", "learning_rate": 0.1}}, "stands beside optimizer"),
        ({"optimizer": {"name": {"choice": ["adam"]}}}, "optimizer.name: is one optimizer"),
        ({"optimizer": {"name": "sgd", "momentum": "high"}}, 'got "high"; allowed: a number'),
        ({"optimizer": {"grid_search": ["adam", "adm"]}}, 'grid_search[1]: got "adm"'),
        (
            {"optimizer": {"grid_search": [{"name": "sgd", "momentum": {"choice": [0.1]}}]}},
            "optimizer.grid_search[0].momentum: a distribution cannot stand within an option",
        ),
        ({"learning_rate": {"schedule": "Cosine"}}, 'got "Cosine" (did you mean "CosineDecay"?)'),
        ({"learning_rate": {"schedule": "CosineDecay"}}, "decay_steps: is missing; CosineDecay"),
        (
            {"learning_rate": {**COSINE, "decay_steps": "epochs"}},
            '"epochs" (did you mean "epoch"?)',
        ),
        (
            {
                "learning_rate": {
                    **{"schedule": "PiecewiseConstantDecay", "values": [0.1, 0.2]},
                    "boundaries": ["epochs"],
                }
            },
            'boundaries: got "epochs" (did you mean "epoch"?)',
        ),
        ({"learning_rate": {**COSINE, "alfa": 1}}, 'CosineDecay "alfa" (did you mean "alpha"?)'),
        ({"learning_rate": -1}, "learning_rate: got -1; allowed: a number above 0"),
        (
            {
                "optimizer": {"name": "schedulefreeadamw", "warmup_steps": 3},
                "learning_rate": {**COSINE, "warmup_steps": 2},
            },
            "warmup_steps: is an argument of the optimizer too",
        ),
    ],
)
def test_names_and_arguments_are_keras_own(training: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        space_of(training)
    assert message in str(caught.value)


def test_an_argument_has_a_column_that_no_architecture_has() -> None:
    optimizer = {"name": "sgd", "momentum": 0.9}
    space = space_of({"optimizer": optimizer}, architectures={"mine": {"build": "module:build"}})
    data = space.to_data() | {"architectures": {"mine": {"build": "module:build", "momentum": 3}}}
    errors = ErrorCollector()
    Space.read(data, errors, source=None, rules=True)
    with pytest.raises(InputError, match=r'optimizer.momentum: is also .* architecture "mine"'):
        errors.raise_any("the space")
