import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from space_text import BASE, MNIST, OWN, SEARCHED, load_written, space_of

from mnist_ray.errors import InputError
from mnist_ray.space.columns import RESERVED_COLUMNS
from mnist_ray.space.distributions import Distribution
from mnist_ray.space.space import (
    Space,
    StoppingRule,
    Training,
    load_space,
    shipped_spaces,
)

# What a space says


def test_only_name_architectures_and_variants_are_required() -> None:
    space = space_of(BASE)
    assert space.dataset == "mnist"
    assert space.training == Training(
        epochs=1,
        batch_size=32,
        validation_split=0.1,
        optimizer="adam",
        learning_rate=0.001,
        precision="float32",
        jit_compile="auto",
    )
    assert (space.trials, space.seed, space.checkpoint_every) == (3, 0, 10.0)
    assert (space.search, space.confirm, space.race, space.early_stopping) == (
        None,
        None,
        False,
        None,
    )
    assert (space.until, space.evaluate, space.search_spaces()) == (None, None, {})


def test_the_notebook_space_has_the_notebooks_four_cells() -> None:
    cells = load_space("notebook").cells(MNIST)
    assert [(cell.architecture, cell.variant, cell.shift, cell.canvas) for cell in cells] == [
        ("feed_forward", "centered", 0, 28),
        ("feed_forward", "shifted", 20, 48),
        ("cnn", "centered", 0, 28),
        ("cnn", "shifted", 20, 48),
    ]
    assert cells[0].hyperparameters == {"hidden_units": [512, 256], "dropout": 0.0}
    assert cells[2].hyperparameters == {
        "filters": [32, 64],
        "kernel_size": 3,
        "pool_size": 2,
        "pool_stride": 1,
        "dense_units": 128,
        "dropout": 0.5,
    }


def test_columns_are_the_architectures_then_trainings_then_the_variants() -> None:
    assert list(load_space("notebook").cells(MNIST)[1].columns().items()) == [
        ("hidden_units", [512, 256]),
        ("dropout", 0.0),
        ("epochs", 1),
        ("batch_size", 32),
        ("validation_split", 0.1),
        ("optimizer", "adam"),
        ("learning_rate", 0.001),
        ("precision", "float32"),
        ("shift", 20),
        ("canvas", 48),
    ]


def test_a_builder_may_stand_twice_under_names_of_its_own() -> None:
    text = BASE.replace("cnn: {}", "cnn: {}, small: {build: cnn, filters: [8, 16]}")
    small = space_of(text).cells(MNIST)[-1]
    assert (small.architecture, small.builder) == ("small", "cnn")
    assert small.hyperparameters["filters"] == [8, 16]


def test_an_architecture_of_the_users_own_takes_any_plain_hyperparameters() -> None:
    space = space_of(OWN % "width: 3, rate: 1e-3, names: [a, b], deep: true, other: null")
    (cell,) = space.cells(MNIST)
    assert cell.builder == "my_module:build_model"
    assert cell.hyperparameters == {
        "width": 3,
        "rate": 0.001,
        "names": ["a", "b"],
        "deep": True,
        "other": None,
    }
    assert space.source == Path("space.yaml").absolute()


def test_no_hidden_units_is_softmax_regression() -> None:
    space = space_of(BASE.replace("feed_forward: {}", "feed_forward: {hidden_units: []}"))
    assert space.cells(MNIST)[0].hyperparameters["hidden_units"] == []


def test_a_section_without_a_body_has_the_defaults() -> None:
    text = "name: test\narchitectures:\n  cnn:\nvariants:\n  centered:\ntraining:\n"
    assert space_of(text).cells(MNIST) == space_of(BASE).cells(MNIST)[2:3]


def test_the_canvas_defaults_to_the_longer_side_and_the_shift() -> None:
    assert [cell.canvas for cell in space_of(BASE).cells((20, 28))[:2]] == [28, 48]
    text = BASE.replace("centered: {}", "centered: {canvas: 48}")
    assert space_of(text).cells(MNIST)[0].canvas == 48


def test_a_float_may_be_written_as_an_integer_or_with_an_exponent() -> None:
    training = space_of(BASE + "training: {learning_rate: 1e-3, validation_split: 0}").training
    assert (training.learning_rate, training.validation_split) == (0.001, 0.0)
    assert isinstance(training.validation_split, float)


def test_hostile_names_stay_text() -> None:
    name = "<script>alert('1')</script>"
    space = space_of(BASE.replace("cnn: {}", f'"{name}": {{build: cnn}}'))
    assert space.cells(MNIST)[-1].architecture == name


def test_a_space_is_never_changed() -> None:
    space = space_of(BASE)
    with pytest.raises(ValidationError):
        space.trials = 5  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        space.training.epochs = 5


# Grids


def test_a_grid_multiplies_the_cells_and_later_keys_vary_fastest() -> None:
    space = space_of(
        """
        name: test
        architectures:
          cnn: {pool_stride: {grid_search: [2, 1]}, filters: {grid_search: [[8], [8, 16]]}}
        variants: {shifted: {shift: {grid_search: [0, 20]}}}
        training: {optimizer: {grid_search: [sgd, adam]}}
        """
    )
    cells = [cell.columns() for cell in space.cells(MNIST)]
    found = [(c["pool_stride"], c["filters"], c["shift"], c["optimizer"]) for c in cells]
    expected = itertools.product([2, 1], [[8], [8, 16]], [0, 20], ["sgd", "adam"])
    assert found == list(expected)
    assert [c["canvas"] for c in cells[:4]] == [28, 28, 48, 48]
    assert load_written(space).cells(MNIST) == space.cells(MNIST)
    assert not space.search_spaces()


def test_grid_values_take_the_hyperparameters_type() -> None:
    cells = space_of(BASE + "training: {learning_rate: {grid_search: [1, 0.1]}}").cells(MNIST)
    assert isinstance(cells[0].training.learning_rate, float)


def test_a_grid_that_names_a_default_and_its_value_has_the_cell_once() -> None:
    grid = "shift: {grid_search: [0, 20]}, canvas: {grid_search: [null, 48]}"
    cells = space_of(BASE.replace("shift: 20", grid)).cells(MNIST)
    shifted = [(cell.shift, cell.canvas) for cell in cells if cell.variant == "shifted"]
    assert shifted == [(0, 28), (0, 48), (20, 48)] * 2


def test_compiling_is_left_to_the_device_unless_it_is_asked_for() -> None:
    assert space_of(BASE).training.jit_compile == "auto"
    assert "jit_compile" not in space_of(BASE).cells(MNIST)[0].columns()
    asked = space_of(BASE + "training: {jit_compile: true}")
    assert asked.cells(MNIST)[0].columns()["jit_compile"] is True
    assert load_written(asked) == asked
    grid = space_of(BASE + "training: {jit_compile: {grid_search: [auto, true, false]}}")
    found = [cell.training.jit_compile for cell in grid.cells(MNIST)]
    assert found == ["auto", True, False] * 4
    assert len({cell.name for cell in grid.cells(MNIST)}) == 12


# Searches


def test_only_pairs_without_sampled_distributions_are_cells_at_once() -> None:
    space = space_of(SEARCHED)
    assert [(cell.architecture, cell.variant) for cell in space.cells(MNIST)] == [
        ("cnn", "centered"),
        ("cnn", "shifted"),
    ]
    assert space.search_spaces()
    assert space.search_spaces() == {
        ("feed_forward", "centered"): {"dropout": Distribution("uniform", (0, 0.5))},
        ("feed_forward", "shifted"): {"dropout": Distribution("uniform", (0, 0.5))},
    }


def test_distributions_of_all_sections_are_searched_together() -> None:
    space = space_of(
        SEARCHED.replace("shift: 20", "shift: {randint: [0, 21]}")
        + "training: {learning_rate: {loguniform: [1e-4, 1e-2]}}"
    )
    columns = space.search_spaces()["feed_forward", "shifted"]
    assert list(columns) == ["dropout", "shift", "learning_rate"]
    assert columns["learning_rate"] == Distribution("loguniform", (1e-4, 1e-2))


def test_drawn_values_are_bound_into_a_cell() -> None:
    space = space_of(
        SEARCHED.replace("dropout: {", "hidden_units: {choice: [[128], [512, 256]]}, dropout: {")
        + "training: {epochs: {quniform: [2, 8, 2]}}"
    )
    drawn = {"dropout": np.float64(0.25), "hidden_units": (128,), "epochs": 4.0}
    cell = space.bind("feed_forward", "shifted", drawn, MNIST)
    assert cell.hyperparameters == {"hidden_units": [128], "dropout": 0.25}
    assert (cell.training.epochs, cell.canvas) == (4, 48)
    json.dumps(cell.columns())
    with pytest.raises(KeyError, match="kernel_size"):
        space.bind("cnn", "centered", {"kernel_size": 3}, MNIST)


def test_the_default_configuration_has_the_shipped_defaults() -> None:
    cell = load_space("tuning").bind("feed_forward", "centered", {}, MNIST)
    assert cell.hyperparameters == {"hidden_units": [512, 256], "dropout": 0.0}
    assert cell.training == Training()


def test_without_a_shipped_default_the_first_or_middle_value_is_the_default() -> None:
    text = OWN % "width: {choice: [7, 3]}, rate: {uniform: [1, 2]}" + "search: {}"
    cell = space_of(text).bind("mine", "centered", {}, MNIST)
    assert cell.hyperparameters == {"width": 7, "rate": 1.5}


def test_columns_of_ones_own_come_fixed_first_and_then_varied() -> None:
    text = OWN % "blocks: {grid_search: [1, 3]}, width: 8, act: {grid_search: [a, b]}, filters: 4"
    for space in (space_of(text), space_of(space_of(text).to_yaml())):
        cell = space.cells(MNIST)[0]
        assert sorted(list(cell.hyperparameters)[:2]) == ["filters", "width"]
        assert sorted(list(cell.hyperparameters)[2:]) == ["act", "blocks"]


def test_a_search_confirms_its_winner_unless_asked_not_to() -> None:
    assert space_of(SEARCHED).confirm == 10
    assert space_of(SEARCHED + "confirm: 5").confirm == 5
    assert space_of(SEARCHED + "confirm: null").confirm is None


# Replication to a precision


def test_trials_may_depend_on_the_precision_reached() -> None:
    space = space_of(BASE + "trials: {at_least: 5, at_most: 100, until_ci95: 2e-3}")
    assert space.trials == StoppingRule(at_least=5, at_most=100, until_ci95=0.002)


def test_a_difference_may_take_the_place_of_each_means_precision() -> None:
    text = "trials: {at_least: 5, at_most: 9}\nuntil: {difference: [cnn, feed_forward], ci95: 0.01}"
    until = space_of(BASE + text).until
    assert until
    assert (until.difference, until.ci95) == (("cnn", "feed_forward"), 0.01)


# Changes from the command


def test_trials_and_seed_can_be_overridden() -> None:
    space = space_of(BASE).override(trials=10, seed=7)
    assert (space.trials, space.seed) == (10, 7)
    assert space_of(BASE).override() == space_of(BASE)
    assert space.source == space_of(BASE).source


def test_a_fixed_number_of_trials_replaces_a_mapping_and_its_until() -> None:
    space = load_space("precision").override(trials=4)
    assert (space.trials, space.until) == (4, None)


def test_overriding_values_are_held_to_the_files_rules() -> None:
    with pytest.raises(InputError, match=r"trials: got 0; allowed: an integer from 1"):
        space_of(BASE).override(trials=0)
    with pytest.raises(InputError, match=r"seed: got -1; allowed: an integer from 0"):
        space_of(BASE).override(seed=-1)


# Written and read again


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_a_space_reads_back_equal(name: str) -> None:
    space = load_space(name)
    again = load_written(space)
    assert again == space
    assert again.to_yaml() == space.to_yaml()


def test_all_defaults_are_written_out() -> None:
    text = space_of(BASE).to_yaml()
    assert all(f"{key}:" in text for key in [*Training.model_fields, "build", "canvas", "until"])


@settings(deadline=None)
@given(
    name=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).filter(
        lambda text: text.strip() and len(text) <= 100
    ),
    value=st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.lists(st.integers(-5, 5)),
)
def test_any_name_and_plain_value_reads_back_equal(name: str, value: object) -> None:
    data = {
        "name": "test",
        "architectures": {name: {"build": "my_module:build", "width": value}},
        "variants": {name: {}},
    }
    space = space_of(json.dumps(data))
    assert load_written(space) == space
    assert repr(load_written(space).cells(MNIST)) == repr(space.cells(MNIST))
    assert space.cells(MNIST)[0].hyperparameters == {"width": value}


def test_the_model_of_a_file_gives_a_json_schema() -> None:
    schema = Space.model_json_schema()
    assert schema["required"] == ["name", "architectures", "variants"]
    assert list(schema["properties"]) == list(space_of(BASE).to_data())
    epochs = schema["$defs"]["Training"]["properties"]["epochs"]
    assert [kind["type"] for kind in epochs["anyOf"]] == ["integer", "object"]
    assert epochs["default"] == 1


def test_choices_may_be_lists() -> None:
    space = load_space("tuning")
    units = space.search_spaces()["feed_forward", "centered"]["hidden_units"]
    assert units.kind == "choice"
    assert [128] in units.parameters


def test_no_hyperparameter_of_the_project_bears_a_reserved_name() -> None:
    for name in shipped_spaces():
        space = load_space(name)
        for pair in space.pairs():
            columns = space.bind(*pair, {}, MNIST).columns()
            assert not RESERVED_COLUMNS & columns.keys()
