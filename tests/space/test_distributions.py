import math

import numpy as np
import pytest

from mnist_ray.space.distributions import FORMS, Distribution
from mnist_ray.space.settings import parse_distribution


def of(kind: str, *parameters: object) -> Distribution:
    return Distribution(kind, parameters)


@pytest.mark.parametrize(
    ("written", "read", "middle"),
    [
        ({"grid_search": [1, 2]}, of("grid_search", 1, 2), 1),
        ({"choice": [[512, 256], [128]]}, of("choice", [512, 256], [128]), [512, 256]),
        ({"uniform": [0, 0.5]}, of("uniform", 0, 0.5), 0.25),
        (
            {"loguniform": [1e-4, 1e-2]},
            of("loguniform", 1e-4, 1e-2),
            pytest.approx(1e-3),
        ),
        (
            {"quniform": [0.1, 0.5, 0.1]},
            of("quniform", 0.1, 0.5, 0.1),
            pytest.approx(0.3),
        ),
        ({"quniform": [32, 256, 32]}, of("quniform", 32, 256, 32), 128),
        ({"randint": [1, 6]}, of("randint", 1, 6), 3),
    ],
)
def test_a_distribution_is_read_and_written_alike(
    written: dict[str, list[object]], read: Distribution, middle: object
) -> None:
    assert parse_distribution(written) == read  # type: ignore[arg-type]
    assert read.to_data() == written
    assert read.middle() == middle


def test_only_a_grid_is_not_sampled() -> None:
    assert not of("grid_search", 1).sampled
    assert all(of(kind, 1, 2, 1).sampled for kind in FORMS if kind != "grid_search")


@pytest.mark.parametrize(
    ("written", "allowed"),
    [
        ({"uniform": [1, 0]}, "low below high"),
        ({"uniform": [0, 0]}, "low below high"),
        ({"uniform": [0]}, "[low, high]"),
        ({"uniform": [0, 1, 2]}, "[low, high]"),
        ({"uniform": 3}, "[low, high]"),
        ({"uniform": ["a", 1]}, "two finite numbers"),
        ({"uniform": [True, 2]}, "two finite numbers"),
        ({"uniform": [0, math.inf]}, "two finite numbers"),
        ({"uniform": [0, 10**400]}, "two finite numbers"),
        ({"loguniform": [0, 1]}, "above 0"),
        ({"loguniform": [-1, 1]}, "above 0"),
        ({"loguniform": [1e-2, 1e-4]}, "low below high"),
        ({"quniform": [0, 1, 0]}, "q above 0"),
        ({"quniform": [0, 1, 0.3]}, "multiples of q"),
        ({"quniform": [1, 0, 0.1]}, "low below high"),
        ({"randint": [0.0, 3]}, "two integers"),
        ({"randint": [3, 3]}, "low below high"),
        ({"choice": []}, "at least one value"),
        ({"grid_search": {}}, "at least one value"),
    ],
)
def test_a_distribution_of_the_wrong_form_is_refused(
    written: dict[str, object], allowed: str
) -> None:
    with pytest.raises(ValueError, match=r"^got ") as caught:
        parse_distribution(written)  # type: ignore[arg-type]
    assert allowed in str(caught.value).partition("allowed:")[2]


def test_an_unknown_distribution_is_reported_with_the_nearest() -> None:
    with pytest.raises(ValueError, match='did you mean "loguniform"'):
        parse_distribution({"log_uniform": [1e-4, 1e-2]})


@pytest.mark.parametrize("written", [{}, {"uniform": [0, 1], "choice": [1]}])
def test_a_mapping_of_other_than_one_key_is_no_distribution(written: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a mapping of one key out of grid_search, choice"):
        parse_distribution(written)  # type: ignore[arg-type]


def test_the_high_end_of_randint_is_never_drawn() -> None:
    assert of("randint", 1, 6).candidates() == [1, 5]


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (
            of("choice", "a", "b", "c", "d"),
            {0: "a", 0.24: "a", 0.25: "b", 0.5: "c", 0.999: "d"},
        ),
        (of("grid_search", 1, 2), {0: 1, 0.5: 2}),
        (of("uniform", 2, 4), {0: 2.0, 0.25: 2.5, 0.75: 3.5}),
        (of("loguniform", 1e-4, 1), {0: 1e-4, 0.25: 1e-3, 0.5: 1e-2, 0.75: 1e-1}),
        (
            of("quniform", 0, 1, 0.25),
            {0: 0.0, 0.12: 0.0, 0.13: 0.25, 0.5: 0.5, 0.999: 1.0},
        ),
        (of("quniform", 32, 96, 32), {0: 32, 0.5: 64, 0.99: 96}),
        (of("randint", 1, 4), {0: 1, 0.33: 1, 0.34: 2, 0.67: 3, 0.999: 3}),
    ],
)
def test_the_value_at_a_quantile(distribution: Distribution, values: dict[float, object]) -> None:
    for quantile, expected in values.items():
        found = distribution.at(quantile)
        assert type(found) is type(expected)
        assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_drawn_values_become_plain_data() -> None:
    drawn = [
        of("uniform", 0, 1).cast(np.float32(0.5)),
        of("randint", 1, 6).cast(np.int64(3)),
        of("quniform", 32, 256, 32).cast(64.0),
        of("quniform", 0, 1, 0.5).cast(np.float64(0.5)),
        of("choice", [128], [512, 256]).cast((512, 256)),
    ]
    assert drawn == [0.5, 3, 64, 0.5, [512, 256]]
    assert [type(value) for value in drawn] == [float, int, int, float, list]


def test_equal_numbers_are_doubles_however_they_are_written() -> None:
    assert of("choice", 1, 2, 1, [3], [3]).doubles() == {2: 1, 4: [3]}
    assert of("choice", 1, 1.0, [2.0, 0.0], [2, -0.0], 1.5).doubles() == {
        1: 1.0,
        3: [2, -0.0],
    }
    assert of("choice", 1, True, "1", None, "null", [1], [True]).doubles() == {}
