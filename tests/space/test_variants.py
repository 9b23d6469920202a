"""Variants: transforms of one's own, their parameters, and which of them models are graded on."""

import pytest
from space_text import errors_of, image_errors_of, space_of

from mnist_ray.errors import InputError
from mnist_ray.space.variants import Transform

HEAD = "name: x\narchitectures: {feed_forward: {}, cnn: {}}\n"
TURNED = 'rotated: {transform: "own:rotate", degrees: 30}'


def test_parameters_of_a_transform_are_columns_and_may_be_a_grid() -> None:
    grid = TURNED.replace("30", "{grid_search: [10, 20]}")
    cells = space_of(f"{HEAD}variants: {{clean: {{}}, {grid}}}").cells((28, 28))
    turned = [cell for cell in cells if cell.architecture == "cnn" and cell.variant == "rotated"]
    assert [cell.transform for cell in turned] == [
        Transform("own:rotate", {"degrees": degrees}) for degrees in (10, 20)
    ]
    assert [cell.columns()["degrees"] for cell in turned] == [10, 20]
    assert "degrees" not in cells[0].columns()


def test_parameters_of_a_transform_may_be_searched() -> None:
    searched = TURNED.replace("30", "{uniform: [10, 20]}")
    space = space_of(f"{HEAD}variants: {{{searched}}}\nsearch: {{}}")
    cell = space.bind("cnn", "rotated", {"degrees": 12.5}, (28, 28))
    assert cell.transform == Transform("own:rotate", {"degrees": 12.5})
    default = space.bind("cnn", "rotated", {}, (28, 28))
    assert default.columns()["degrees"] == 15.0


def test_a_space_with_transforms_is_read_back_from_its_own_text() -> None:
    space = space_of(f"{HEAD}variants: {{clean: {{}}, {TURNED}}}\nevaluate: {{variants: all}}")
    assert space_of(space.to_yaml()) == space
    plain = space_of(f"{HEAD}variants: {{clean: {{}}}}")
    assert "transform" not in plain.to_yaml()


@pytest.mark.parametrize(
    ("variants", "place", "message"),
    [
        ("clean: {degrees: 3}", "variants.clean.degrees", 'unknown key "degrees"'),
        ('a: {transform: "own rotate"}', "variants.a.transform", "module:function"),
        ('a: {transform: "own:f", dropout: 1}', "variants.a.dropout", 'of architecture "cnn"'),
        ('a: {transform: "own:f", trial: 1}', "variants.a.trial", "another column of the report"),
        (
            'a: {transform: "own:f", x: 1}, b: {transform: "own:f", x: one}',
            "variants.b.x",
            "another kind",
        ),
    ],
)
def test_parameters_that_cannot_be_are_refused(variants: str, place: str, message: str) -> None:
    (error,) = errors_of(f"{HEAD}variants: {{{variants}}}")
    assert f"{place}: " in error
    assert message in error


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        ("{variants: [rotatd]}", 'variants[0]: unknown variant "rotatd" (did you mean "rotated"?)'),
        ("{variants: some}", 'evaluate.variants: got "some"; allowed: all, or a list'),
        ("{variants: [clean, clean]}", "each once"),
        ("{}", "evaluate: is empty; allowed: shifts, variants or both"),
    ],
)
def test_variants_to_evaluate_on_that_cannot_be_are_refused(evaluate: str, message: str) -> None:
    (error,) = errors_of(f"{HEAD}variants: {{clean: {{}}, {TURNED}}}\nevaluate: {evaluate}")
    assert message in error


def test_images_that_a_search_decides_on_are_no_test_set() -> None:
    searched = TURNED.replace("30", "{uniform: [10, 20]}")
    text = f"{HEAD}variants: {{{searched}}}\nsearch: {{}}\nevaluate: {{variants: all}}"
    (error,) = errors_of(text)
    assert 'the images of variant "rotated" are not known' in error


def test_variants_to_evaluate_on_must_be_of_the_size_that_models_take() -> None:
    text = (
        f"{HEAD}variants: {{clean: {{}}, shifted: {{shift: 4}}}}\nevaluate: {{variants: [clean]}}"
    )
    (error,) = image_errors_of(text)
    assert 'variant "clean" have the shape (28, 28, 1)' in error
    assert 'variant "shifted" take (32, 32, 1)' in error
    assert "canvas: 32" in error
    space_of(text.replace("clean: {}", "clean: {canvas: 32}")).check_images((28, 28), 10)


def test_grey_models_are_not_graded_on_images_in_colour() -> None:
    text = (
        f"{HEAD}variants: {{clean: {{}}, tinted: {{transform: 'own:tint'}}}}\n"
        "evaluate: {variants: all}"
    )
    space = space_of(text)
    tinted = space.with_image_shapes(dict.fromkeys(space.transforms(), (28, 28, 3)))
    with pytest.raises(InputError) as caught:
        tinted.check_images((28, 28), 10)
    assert "(28, 28, 3)" in str(caught.value)
    assert "grey or colour" in str(caught.value)
    assert "canvas" not in str(caught.value)
