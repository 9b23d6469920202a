import contextlib
import copy
import functools
import json
import operator
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_text import (
    BASE,
    OWN,
    SEARCHED,
    error_of,
    errors_of,
    space_of,
)

from mnist_ray.errors import InputError
from mnist_ray.space.architecture import BUILT_IN
from mnist_ray.space.space import (
    load_space,
)

# Place, what came, what is allowed, the nearest right name

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
    (BASE.replace("cnn:", '"":'), 'architectures."": got ""', ", ".join(BUILT_IN)),
    (BASE.replace("centered:", '" ":'), 'variants." ": got " "', "a name of 1 to 100 characters"),
    (BASE.replace("centered:", f"{'x' * 101}:"), "variants.xxx", "1 to 100 characters"),
    (BASE.replace("centered:", '"a\\eb":'), r'variants."a\u001bb"', "no control characters"),
    # sections
    ("name: x\nvariants: {a: {}}", "architectures: is missing", "at least one name"),
    (
        "name: x\nvariants: {a: {}}\narchitectures: {}",
        "line 3, architectures: got {}",
        "at least one",
    ),
    ("name: x\narchitectures: {cnn: {}}\nvariants: {}", "line 3, variants: got {}", "at least one"),
    (
        "name: x\narchitectures: [cnn]\nvariants: {a: {}}",
        'line 2, architectures: got ["cnn"]',
        "a mapping of at least one name",
    ),
    (BASE.replace("cnn: {}", "cnn: 3"), "architectures.cnn: got 3", "a mapping"),
    (BASE + "training: fast", 'training: got "fast"', "a mapping"),
    (BASE + "dataset: 3", "dataset: got 3", "mnist, fashion_mnist, digits or a path"),
    (BASE + "classes: [cat]", 'classes: got ["cat"]', "a list of names, one for each class"),
    (BASE + "classes: cat", 'classes: got "cat"', "a list of names, one for each class"),
    (BASE + "classes: [cat, 1]", "classes[1]: got 1", "a list of names"),
    (BASE + "classes: [cat, ' ']", 'classes[1]: got " "', "1 to 100 characters"),
    (BASE + 'classes: [cat, "a\\eb"]', r'classes[1]: got "a\u001bb"', "no control characters"),
    (BASE + "classes: [cat, dog, cat]", 'classes: got "cat"', "each name once"),
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
    (BASE + "training: {optimizer: adm}", 'got "adm" (did you mean "adam"?)', "adam, adamw, sgd"),
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
    (BASE + "spread: {sources: []}", "spread.sources: got []", "at least one of weights"),
    (
        BASE + "spread: {sources: [weights, wieghts]}",
        'spread.sources[1]: got "wieghts" (did you mean "weights"?)',
        "weights, shuffling, placement, dropout, sample",
    ),
    (
        BASE + "spread: {sources: [sample, dropout, sample]}",
        'spread.sources: got ["sample", "dropout", "sample"]',
        "each once",
    ),
    (BASE + "spread: {sources: weights}", 'spread.sources: got "weights"', "a list"),
    (BASE + "spread: {trials: 2}", "spread.trials: got 2", "an integer from 3"),
    (BASE + "spread: {trials: 3.0}", "spread.trials: got 3.0", "an integer from 3"),
    (BASE + "spread: {trails: 5}", 'spread.trails: unknown key "trails"', "sources, trials"),
    (SEARCHED + "spread: {}", "spread: cannot stand beside a search", "a space of its own"),
    # builders
    (
        BASE.replace("cnn: {}", "cnnn: {}"),
        'architectures.cnnn: got "cnnn" (did you mean "cnn"?)',
        f'{", ".join(BUILT_IN)} or "module:function" of your own',
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
        "training.epochs: a grid_search cannot stand beside sampled distributions",
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
        BASE + "trials: {at_least: 5, at_most: 9, within: 30}",
        "trials.within: got 30",
        "with its unit, such as 30 min",
    ),
    (
        BASE + "trials: {at_least: 5, at_most: 9, within: 30 minutes}",
        'trials.within: got "30 minutes"',
        "such as 30 min, 2 h or 90 s",
    ),
    (
        BASE + "trials: {at_least: 5, at_most: 9, within: 0 min}",
        'trials.within: got "0 min"',
        "a time of work above 0",
    ),
    (
        BASE + "trials: {at_least: 5, at_most: 9, within: -2 h}",
        'trials.within: got "-2 h"',
        "a time of work above 0",
    ),
    (
        BASE + "trials: 5\nwithin: 30 min",
        "within: stands in trials",
        "trials: {at_least: 5, at_most: 100, within: 30 min}",
    ),
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
        "until: cannot stand beside a search",
        "omit one",
    ),
]


@pytest.mark.parametrize(("text", "given", "remedy"), BAD)
def test_bad_input_is_reported_with_its_place_and_what_is_allowed(
    text: str, given: str, remedy: str
) -> None:
    errors = "\n".join(errors_of(text))
    assert given in errors
    assert remedy in errors.partition(given)[2]


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
        "spread": {"sources": ["weights", "sample"], "trials": 4},
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
