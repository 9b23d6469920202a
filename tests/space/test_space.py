import contextlib
import copy
import functools
import itertools
import json
import operator
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mnist_ray.errors import InputError
from mnist_ray.space import space as space_module
from mnist_ray.space.columns import RESERVED_COLUMNS
from mnist_ray.space.distributions import Distribution
from mnist_ray.space.space import (
    Space,
    StoppingRule,
    Training,
    load_space,
    shipped_spaces,
)

ROOT = Path(__file__).parent.parent.parent
MNIST = (28, 28)

BASE = """
name: test
architectures: {feed_forward: {}, cnn: {}}
variants: {centered: {}, shifted: {shift: 20}}
"""
SEARCHED = """
name: test
architectures: {feed_forward: {dropout: {uniform: [0, 0.5]}}, cnn: {}}
variants: {centered: {}, shifted: {shift: 20}}
search: {algorithm: random, configurations: 20, trials_each: 3}
"""
OWN = """
name: test
architectures: {mine: {build: "my_module:build_model", %s}}
variants: {centered: {}}
"""


@pytest.fixture(autouse=True)
def _work_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def space_of(text: str) -> Space:
    Path("space.yaml").write_text(text, encoding="utf-8")
    return load_space("space.yaml")


def errors_of(text: str) -> list[str]:
    """The lines of the one message that refuses a space, without its heading."""
    with pytest.raises(InputError) as caught:
        space_of(text)
    heading, *errors = str(caught.value).splitlines()
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    assert heading == f"the search space space.yaml has {count}:"
    return [error.strip() for error in errors]


def error_of(text: str) -> str:
    (error,) = errors_of(text)
    return error


def image_errors_of(text: str, image_size: tuple[int, int] = MNIST) -> list[str]:
    space = space_of(text)
    with pytest.raises(InputError) as caught:
        space.check_images(image_size, 10)
    return [error.strip() for error in str(caught.value).splitlines()[1:]]


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
    assert (space.until, space.evaluate, space.sampled) == (None, None, False)


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
    assert not space.sampled


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
    assert space.sampled
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
    cell = load_space("tuning").default_configuration("feed_forward", "centered", MNIST)
    assert cell.hyperparameters == {"hidden_units": [512, 256], "dropout": 0.0}
    assert cell.training == Training()


def test_without_a_shipped_default_the_first_or_middle_value_is_the_default() -> None:
    text = OWN % "width: {choice: [7, 3]}, rate: {uniform: [1, 2]}" + "search: {}"
    cell = space_of(text).default_configuration("mine", "centered", MNIST)
    assert cell.hyperparameters == {"width": 7, "rate": 1.5}


def test_a_search_confirms_its_winner_unless_reported_not_to() -> None:
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


def load_written(space: Space) -> Space:
    Path("written.yaml").write_text(space.to_yaml(), encoding="utf-8")
    return load_space("written.yaml")


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


# Finding a space


def test_shipped_spaces_are_found_by_name_with_or_without_a_suffix() -> None:
    assert set(shipped_spaces()) == {
        "digits",
        "notebook",
        "pooling",
        "precision",
        "robustness",
        "tuning",
    }
    assert load_space("digits") == load_space("digits.yaml")
    assert load_space("digits").name == "digits"


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_a_shipped_space_fits_its_images(name: str) -> None:
    space = load_space(name)
    assert space.name == name
    space.check_images(MNIST, 10)


def test_a_file_of_the_users_is_taken_before_a_shipped_one_of_that_file_name() -> None:
    Path("digits.yaml").write_text(BASE)
    assert load_space("digits.yaml").name == "test"
    assert load_space("digits").name == "digits"


def test_shipped_spaces_are_found_in_an_installed_package(tmp_path: Path) -> None:
    for source in (ROOT / "mnist_ray").rglob("*.py"):
        target = tmp_path / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    shutil.copytree(ROOT / "search_spaces", tmp_path / "mnist_ray" / "search_spaces")
    code = (
        "from mnist_ray.space import space; print(space.__file__, *space.shipped_spaces().values())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    file, *spaces = done.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert len(spaces) == len(shipped_spaces())
    assert all(Path(path).parent == tmp_path / "mnist_ray" / "search_spaces" for path in spaces)


def test_a_space_is_read_without_ray_tensorflow_or_numpy() -> None:
    heavy = {"ray", "tensorflow", "numpy"}
    code = f"import mnist_ray.space.space, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_space_that_does_not_exist_is_reported_with_those_that_do() -> None:
    with pytest.raises(InputError) as caught:
        load_space("notbook")
    message = str(caught.value)
    assert 'no search space "notbook" (did you mean "notebook"?)' in message
    assert "digits, notebook, pooling, precision, robustness, tuning" in message


def test_a_misspelt_path_is_reported_with_the_nearest_file_beside_it() -> None:
    Path("my_space.yaml").write_text(BASE)
    with pytest.raises(InputError, match=r'did you mean "my_space\.yaml"'):
        load_space("my_spcae.yaml")


@pytest.mark.parametrize(
    ("name", "message"),
    [(".", "is a folder"), ("/dev/null", "is no file"), ("x" * 5000, "no search"), ("a\0b", "no")],
)
def test_what_is_no_file_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_space(name)


# Bad input: place, what came, what is allowed, the nearest right name

BAD = [
    # names and keys
    (BASE + "trails: 3", 'line 5, trails: unknown key "trails" (did you mean "trials"?)', "seed"),
    (BASE + "training: {epoch: 3}", 'line 5, training.epoch: unknown key "epoch"', "epochs"),
    (BASE.replace("{shift", "{shfit"), 'variants.shifted.shfit: unknown key "shfit"', "shift"),
    (
        BASE.replace("cnn: {}", "cnn: {kernal_size: 5}"),
        'line 3, architectures.cnn.kernal_size: unknown key "kernal_size"',
        'did you mean "kernel_size"?); allowed: build, filters, kernel_size',
    ),
    (BASE.replace("name: test", ""), "name: is missing", "allowed: text"),
    (BASE.replace("name: test", "name: .x"), 'line 2, name: got ".x"', "no dot first"),
    (BASE.replace("name: test", "name: a/b"), 'name: got "a/b"', "allowed: text"),
    (BASE.replace("name: test", 'name: "a\\n"'), r'name: got "a\n"', "allowed: text"),
    (BASE.replace("name: test", "name: 2024"), "name: got 2024", "allowed: text"),
    (BASE.replace("cnn:", '"":'), 'architectures."": got ""', "feed_forward, cnn"),
    (BASE.replace("centered:", '" ":'), 'variants." ": got " "', "a name of 1 to 100 characters"),
    (BASE.replace("centered:", f"{'x' * 101}:"), "variants.xxx", "1 to 100 characters"),
    (BASE.replace("centered:", '"a\\eb":'), r'variants."a\u001bb"', "no control characters"),
    # sections
    ("name: x\nvariants: {a: {}}", "architectures: is missing", "at least one name"),
    ("name: x\narchitectures: {cnn: {}}\nvariants: {}", "line 3, variants: got {}", "at least one"),
    (
        "name: x\narchitectures: [cnn]\nvariants: {a: {}}",
        'line 2, architectures: got ["cnn"]',
        "a mapping of at least one name",
    ),
    (BASE.replace("cnn: {}", "cnn: 3"), "architectures.cnn: got 3", "a mapping"),
    (BASE + "training: fast", 'training: got "fast"', "a mapping"),
    (BASE + "dataset: 3", "dataset: got 3", "mnist, digits or a path"),
    # types and ranges
    (BASE + "trials: 0", "line 5, trials: got 0", "an integer from 1"),
    (BASE + "trials: -3", "trials: got -3", "an integer from 1"),
    (BASE + "trials: 1e3", "trials: got 1000.0", "an integer from 1"),
    (BASE + "trials: true", "trials: got true", "an integer from 1"),
    (BASE + "trials: '3'", 'trials: got "3"', "an integer from 1"),
    (BASE + "trials: null", "trials: got null", "an integer from 1"),
    (BASE + "seed: -1", "seed: got -1", "an integer from 0"),
    (BASE + "race: yes", 'race: got "yes"', "true or false"),
    (BASE + "checkpoint_every: 0", "checkpoint_every: got 0", "minutes above 0"),
    (BASE + "training: {epochs: 0}", "training.epochs: got 0", "an integer from 1"),
    (BASE + "training: {batch_size: 3.0}", "training.batch_size: got 3.0", "an integer from 1"),
    (BASE + "training: {validation_split: 1}", "validation_split: got 1", "from 0 to below 1"),
    (BASE + "training: {validation_split: -.1}", "validation_split: got -0.1", "0 to below 1"),
    (BASE + "training: {learning_rate: 0}", "learning_rate: got 0", "above 0"),
    (BASE + "training: {learning_rate: .inf}", "learning_rate: got Infinity", "above 0"),
    (BASE + "training: {learning_rate: true}", "learning_rate: got true", "above 0"),
    (BASE + "training: {optimizer: adm}", 'got "adm" (did you mean "adam"?)', "adam, sgd"),
    (BASE + "training: {precision: float16}", 'precision: got "float16"', "mixed_float16"),
    (BASE + "training: {jit_compile: on}", 'jit_compile: got "on"', "auto, true or false"),
    (BASE + "training: {jit_compile: 1}", "jit_compile: got 1", "auto, true or false"),
    (BASE + "training: {jit_compile: auot}", 'did you mean "auto"?', "auto, true or false"),
    (BASE.replace("shift: 20", "shift: -1"), "variants.shifted.shift: got -1", "from 0"),
    (BASE.replace("shift: 20", "canvas: 0"), "variants.shifted.canvas: got 0", "from 1"),
    (BASE.replace("cnn: {}", "cnn: {filters: []}"), "cnn.filters: got []", "at least one integer"),
    (BASE.replace("cnn: {}", "cnn: {filters: [8, 0]}"), "cnn.filters[1]: got 0", "at least 1"),
    (BASE.replace("cnn: {}", "cnn: {filters: 32}"), "cnn.filters: got 32", "a list"),
    (BASE.replace("cnn: {}", "cnn: {dropout: 1}"), "cnn.dropout: got 1", "from 0 to below 1"),
    (BASE + "evaluate: {shifts: []}", "evaluate.shifts: got []", "at least one integer"),
    (BASE + "evaluate: {shifts: [0, -1]}", "evaluate.shifts[1]: got -1", "at least 0"),
    (BASE + "evaluate: {shifts: [5, 5]}", "evaluate.shifts: got [5, 5]", "each once"),
    (BASE + "evaluate: [5]", "evaluate: got [5]", "a mapping"),
    # builders
    (
        BASE.replace("cnn: {}", "cnnn: {}"),
        'architectures.cnnn: got "cnnn" (did you mean "cnn"?)',
        'feed_forward, cnn or "module:function" of your own',
    ),
    (
        BASE.replace("cnn: {}", "mine: {build: fed_forward}"),
        'mine.build: got "fed_forward" (did you mean "feed_forward"?)',
        '"module:function"',
    ),
    (BASE.replace("cnn: {}", "mine: {build: 'a b:c'}"), 'build: got "a b:c"', "module:function"),
    (BASE.replace("cnn: {}", "mine: {build: ':c'}"), 'build: got ":c"', "module:function"),
    (BASE.replace("cnn: {}", "mine: {build: null}"), "build: got null", "module:function"),
    (OWN % "test_accuracy: 1", 'mine.test_accuracy: "test_accuracy" is another column', "else"),
    (OWN % "epochs: 1", 'mine.epochs: "epochs" is another column', "something else"),
    (OWN % "'a b': 1", 'mine."a b": got "a b"', "the name of an argument"),
    (OWN % "lambda: 1", 'mine.lambda: got "lambda"', "the name of an argument"),
    (OWN % "width: [[1]]", "mine.width: got [[1]]", "a list of such of one kind"),
    (OWN % "width: [1, a]", 'mine.width: got [1, "a"]', "of one kind"),
    (OWN % "width: .nan", "mine.width: got NaN", "a number, text"),
    (OWN % "width: 9223372036854775808", "width: got 9223372036854775808", "a number"),
    (
        BASE.replace("cnn: {}", 'mine: {build: "m:f", dropout: high}'),
        'mine.dropout: "high" is of another kind (text) than dropout of "feed_forward" (number)',
        "rename one",
    ),
    # distributions
    (
        SEARCHED.replace("[0, 0.5]", "[0, 2]"),
        "line 3, architectures.feed_forward.dropout.uniform[1]: got 2.0",
        "from 0 to below 1",
    ),
    (SEARCHED.replace("[0, 0.5]", "[0.5, 0]"), 'dropout: got {"uniform": [0.5, 0]}', "low below"),
    (
        SEARCHED.replace("uniform: [0, 0.5]", "loguniform: [0, 0.5]"),
        'dropout: got {"loguniform": [0, 0.5]}',
        "above 0",
    ),
    (
        SEARCHED.replace("uniform:", "unifrom:"),
        'dropout: unknown distribution "unifrom" (did you mean "uniform"?)',
        "grid_search, choice",
    ),
    (
        SEARCHED + "training: {epochs: {choice: [a, 2]}}",
        'training.epochs.choice[0]: got "a"',
        "an integer from 1",
    ),
    (
        SEARCHED + "training: {epochs: {quniform: [1, 2, 0.5]}}",
        "training.epochs.quniform[0]: got 1.0",
        "an integer from 1",
    ),
    (
        BASE.replace("cnn: {}", "cnn: {filters: {grid_search: [[8], []]}}"),
        "cnn.filters.grid_search[1]: got []",
        "at least one integer",
    ),
    (
        BASE + "training: {learning_rate: {grid_search: [1, 1.0]}}",
        "training.learning_rate.grid_search[1]: 1.0 is given twice",
        "",
    ),
    (OWN % "width: {grid_search: [1, 1.0]}", "mine.width.grid_search[1]: 1.0 is given twice", ""),
    (OWN % "width: {grid_search: [[1], [1.0]]}", "width.grid_search[1]: [1.0] is given twice", ""),
    (BASE + "seed: {choice: [1, 2]}", 'seed: got {"choice": [1, 2]}', "an integer from 0"),
    (
        SEARCHED + "training: {epochs: {grid_search: [1, 2]}}",
        "training.epochs: a grid_search can't stand beside sampled distributions",
        "use choice",
    ),
    (
        OWN % ", ".join(f"h{i}: {{grid_search: {list(range(20))}}}" for i in range(4)),
        "architectures: with all grids there are 160000 cells",
        "allowed: 100000",
    ),
    # searches
    (
        SEARCHED[: SEARCHED.index("search")],
        "feed_forward.dropout: uniform is sampled, which needs a search",
        "search: {algorithm: random, configurations: 20, trials_each: 3}",
    ),
    (BASE + "search: {}", "line 5, search: has nothing to sample", "loguniform"),
    (
        SEARCHED.replace("random", "optna"),
        'search.algorithm: got "optna" (did you mean "optuna"?)',
        "allowed: random or optuna",
    ),
    (SEARCHED.replace("20, t", "0, t"), "search.configurations: got 0", "an integer from 1"),
    (SEARCHED.replace("each: 3", "each: 0"), "search.trials_each: got 0", "an integer from 1"),
    (SEARCHED + "race: true".replace("true", "1"), "race: got 1", "true or false"),
    (BASE + "race: true", "race: needs a search", "omit race"),
    (BASE + "confirm: 10", "confirm: needs a search", "omit confirm"),
    (BASE + "early_stopping: asha", "early_stopping: needs a search", "omit early_stopping"),
    (SEARCHED + "confirm: 1", "confirm: got 1", "an integer from 2"),
    (SEARCHED + "early_stopping: ahsa", 'got "ahsa" (did you mean "asha"?)', "asha or null"),
    (SEARCHED + "early_stopping: asha", "early_stopping: needs training.epochs above 1", ""),
    (SEARCHED.replace("each: 3", "each: 1") + "race: true", "race: needs trials_each", "least 2"),
    (
        SEARCHED + "training: {validation_split: 0}",
        "training.validation_split: got 0",
        "a number above 0 where there is a search",
    ),
    # replication to a precision
    (
        BASE + "trials: {at_least: 1, at_most: 9, until_ci95: 0.002}",
        "line 5, trials.at_least: got 1",
        "an integer from 2",
    ),
    (
        BASE + "trials: {at_least: 9, at_most: 5, until_ci95: 0.002}",
        "trials.at_most: got 5",
        "an integer from at_least",
    ),
    (
        BASE + "trials: {at_least: 5, at_most: 9, until_ci95: 0}",
        "trials.until_ci95: got 0",
        "above 0",
    ),
    (
        BASE + "trials: {at_least: 5, at_most: 9, until_ci95: -1}",
        "trials.until_ci95: got -1",
        "above 0",
    ),
    (BASE + "trials: {at_least: 5, until_ci95: 0.1}", "trials.at_most: is missing", "at_least"),
    (BASE + "trials: {at_least: 5, at_most: 9}", "trials: lacks until_ci95", "or the key until"),
    (
        BASE + "until: {difference: [feed_forward, cnn], ci95: 0.002}",
        "until: needs bounds",
        "trials: {at_least: 5, at_most: 100}",
    ),
    (
        BASE + "trials: {at_least: 5, at_most: 9}\nuntil: {difference: [cnn, fed], ci95: 0.01}",
        'line 6, until.difference[1]: unknown architecture "fed"',
        "feed_forward, cnn",
    ),
    (
        BASE + "trials: {at_least: 5, at_most: 9}\nuntil: {difference: [cnn, cnn], ci95: 0.01}",
        "until.difference: names one architecture twice",
        "two of them",
    ),
    (
        BASE + "trials: {at_least: 5, at_most: 9}\nuntil: {difference: [cnn], ci95: 0.01}",
        "until.difference",
        "two architectures",
    ),
    (
        BASE
        + "trials: {at_least: 5, at_most: 9}\nuntil: {difference: [cnn, feed_forward], ci95: 0}",
        "until.ci95: got 0",
        "above 0",
    ),
    (
        SEARCHED
        + "trials: {at_least: 5, at_most: 9}\nuntil: {difference: [cnn, feed_forward], ci95: 0.1}",
        "until: can't stand beside a search",
        "omit one",
    ),
]


@pytest.mark.parametrize(("text", "given", "remedy"), BAD)
def test_bad_input_is_reported_with_its_place_and_what_is_allowed(
    text: str, given: str, remedy: str
) -> None:
    told = "\n".join(errors_of(text))
    assert given in told
    assert remedy in told.partition(given)[2]


def test_an_error_brings_no_further_errors_with_it() -> None:
    by_count = {text: len(errors_of(text)) for text, _, _ in BAD}
    several = {text for text, count in by_count.items() if count > 1}
    no_name_and_no_builder = BASE.replace("cnn:", '"":')
    both_ends_of_a_range = SEARCHED + "training: {epochs: {quniform: [1, 2, 0.5]}}"
    assert several == {no_name_and_no_builder, both_ends_of_a_range}


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("training: {epochs: 0}", 1),
        ("training: fast", 1),
        ("training: {optimizer: x}", 2),  # one epoch leaves nothing to stop between
        ("training: {epochs: 2, optimizer: x}", 1),
        ("search: 5", 2),
    ],
)
def test_a_rule_is_not_broken_by_what_could_not_be_read(line: str, count: int) -> None:
    text = SEARCHED + "early_stopping: asha\n"
    if "search" in line:
        text = text[: text.index("search:")] + "training: {epochs: x}\n"
    assert len(errors_of(text + line)) == count


def test_all_errors_are_reported_at_once_in_the_files_order() -> None:
    errors = errors_of(
        """
        name: .x
        seed: 1
        seed: true
        architectures:
          cnn: {droput: 0.5, kernel_size: 0, dropout: {unifrm: [0, 1]}}
          mine: {build: cmn}
        variants: {}
        training: {epochs: a}
        trials: {at_least: 1, at_most: 9, until_ci95: 0}
        race: true
        """
    )
    places = [error.split(": ")[0] for error in errors]
    assert places == [
        "line 2, name",
        "line 3, seed",
        "line 6, architectures.cnn.droput",
        "line 6, architectures.cnn.kernel_size",
        "line 6, architectures.cnn.dropout",
        "line 7, architectures.mine.build",
        "line 8, variants",
        "line 9, training.epochs",
        "line 10, trials.at_least",
        "line 10, trials.until_ci95",
        "line 11, race",
    ]


ANYTHING = st.sampled_from(
    [
        *(None, True, 0, 1, 2.5, 10**30, "x", "cnn", "m:f", [], [1], ["x"], [[1]], {}),
        *({"choice": [1, 1.0]}, {"choice": []}, {"uniform": [0, 1]}, {"grid_search": [1, 2]}),
        *({"build": "cnn"}, {"at_least": 5, "at_most": 3}, {"difference": ["cnn"], "ci95": 0}),
    ]
)


def places_in(data: object, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    parts = data.items() if isinstance(data, dict) else enumerate(data)  # type: ignore[arg-type]
    for key, value in parts:
        yield (*place, key)
        if isinstance(value, dict | list):
            yield from places_in(value, (*place, key))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), ANYTHING), min_size=1, max_size=4))
def test_whatever_stands_anywhere_in_a_file_is_read_or_refused(
    changes: list[tuple[int, object]],
) -> None:
    data: dict[str, object] = {
        **load_space("tuning").to_data(),
        "evaluate": {"shifts": [0, 3]},
        "until": {"difference": ["feed_forward", "cnn"], "ci95": 0.1},
        "trials": {"at_least": 5, "at_most": 9},
    }
    for number, value in changes:
        places = list(places_in(data))
        *above, last = places[number % len(places)]
        functools.reduce(operator.getitem, above, data)[last] = copy.deepcopy(value)  # type: ignore
    with contextlib.suppress(InputError):
        space_of(json.dumps(data))


def test_hostile_and_long_values_are_shown_on_one_line() -> None:
    error = error_of(BASE + f'dataset: ["\\e[31m{"x" * 500}\\n"]')
    assert "\x1b" not in error
    assert len(error) < 200


def test_what_is_no_mapping_is_reported_with_the_file() -> None:
    Path("space.yaml").write_text("name: [")
    with pytest.raises(InputError, match=r"the search space space\.yaml is no YAML: line 1, col"):
        load_space("space.yaml")


def test_a_file_that_can_not_be_opened_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    Path("space.yaml").write_text(BASE)
    monkeypatch.setattr(space_module.Path, "open", deny)
    with pytest.raises(InputError, match=r"space.yaml can't be read: Permission denied"):
        load_space("space.yaml")


def test_no_hyperparameter_of_the_project_bears_a_reserved_name() -> None:
    for name in shipped_spaces():
        space = load_space(name)
        for pair in space.pairs():
            columns = space.default_configuration(*pair, MNIST).columns()
            assert not RESERVED_COLUMNS & columns.keys()


# Images


def test_a_canvas_smaller_than_image_and_shift_is_refused() -> None:
    (error,) = image_errors_of(BASE.replace("shift: 20", "shift: 20, canvas: 47"))
    assert error == (
        "line 4, variants.shifted.canvas: got 47; allowed: at least 48 (image 28 + shift 20), "
        "or leave it out"
    )


@pytest.mark.parametrize(
    ("layers", "place", "allowed"),
    [
        ("kernel_size: 29", "kernel_size: got 29", "at most 28, since 28x28 pixels are left"),
        ("pool_size: 27", "pool_size: got 27", "at most 26, since 26x26 pixels are left"),
        # 28 -3+1-> 26 /2-> 13 -3+1-> 11 /2-> 5 -3+1-> 3 /2-> 1, less than a kernel
        (
            "filters: [4, 4, 4, 4], pool_stride: 2",
            "kernel_size: got 3",
            "at most 1, since 1x1 pixels are left before it in block 4 on canvas 28",
        ),
    ],
)
def test_a_kernel_or_pool_larger_than_what_is_left_is_refused(
    layers: str, place: str, allowed: str
) -> None:
    text = f"name: x\nvariants: {{centered: {{}}}}\narchitectures: {{cnn: {{{layers}}}}}"
    (error,) = image_errors_of(text)
    assert f"line 3, architectures.cnn.{place}; allowed: {allowed}" in error
    assert error.endswith('of variant "centered"')


@pytest.mark.parametrize("layers", ["kernel_size: 27", "kernel_size: 14, pool_size: 15"])
def test_layers_that_just_fit_are_taken(layers: str) -> None:
    text = BASE.replace("cnn: {}", f"cnn: {{filters: [8], {layers}}}")
    space_of(text).check_images(MNIST, 10)


def test_searched_geometry_is_checked_at_its_extremes() -> None:
    cnn = "cnn: {pool_stride: {choice: [1, 2]}, filters: {choice: [[8], [8, 8, 8, 8]]}}"
    (error,) = image_errors_of(SEARCHED.replace("cnn: {}", cnn))
    assert "architectures.cnn.kernel_size: got 3; allowed: at most 1" in error
    canvas = "shift: {randint: [0, 21]}, canvas: 47"
    (error,) = image_errors_of(SEARCHED.replace("shift: 20", canvas))
    assert "variants.shifted.canvas: got 47; allowed: at least 48 (image 28 + shift 20)" in error


def test_test_shifts_must_fit_every_canvas() -> None:
    errors = image_errors_of(BASE + "evaluate: {shifts: [0, 20, 21]}")
    assert errors == [
        "line 5, evaluate.shifts[1]: got 20; allowed: at most 0 on the canvas of 28 that variant "
        '"centered" has; or give it canvas: 48',
        "line 5, evaluate.shifts[2]: got 21; allowed: at most 0 on the canvas of 28 that variant "
        '"centered" has; or give it canvas: 49',
        "line 5, evaluate.shifts[2]: got 21; allowed: at most 20 on the canvas of 48 that variant "
        '"shifted" has; or give it canvas: 49',
    ]


def test_one_class_is_nothing_to_tell_apart() -> None:
    with pytest.raises(InputError, match="has 1 class; allowed: at least 2"):
        space_of(BASE).check_images(MNIST, 1)


def test_all_errors_of_the_images_are_reported_at_once() -> None:
    text = BASE.replace("shift: 20", "shift: 20, canvas: 40").replace(
        "{}, cnn: {}", "{}, cnn: {kernel_size: 40}"
    )
    assert len(image_errors_of(text)) == 2


def test_choices_may_be_lists() -> None:
    space = load_space("tuning")
    units = space.search_spaces()["feed_forward", "centered"]["hidden_units"]
    assert units.kind == "choice"
    assert [128] in units.parameters
