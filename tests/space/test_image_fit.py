import pytest
from space_text import BASE, MNIST, SEARCHED, image_errors_of, space_of

from mnist_ray.errors import InputError


def test_a_canvas_smaller_than_image_and_shift_is_refused() -> None:
    (error,) = image_errors_of(BASE.replace("shift: 20", "shift: 20, canvas: 47"))
    assert error == (
        "line 4, variants.shifted.canvas: got 47; allowed: at least 48 (image 28 + shift 20), "
        "or leave it out"
    )


def test_another_number_of_class_names_than_the_data_have_classes_is_refused() -> None:
    (error,) = image_errors_of(f"{BASE}classes: [cat, dog, owl]\n")
    assert error == (
        "line 5, classes: got 3 names; allowed: one for each of the 10 classes of the data, whose "
        "labels are 0 to 9"
    )


def test_images_in_colour_fit_as_grey_ones_do() -> None:
    space = space_of(BASE)
    space.check_images((32, 30, 3), 10)
    cells = space.cells((32, 30, 3))
    assert {cell.canvas for cell in cells} == {32, 52}
    assert {cell.channels for cell in cells} == {3}
    assert {cell.channels for cell in space.cells((32, 30))} == {1}


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


def test_one_class_is_nothing_to_classify() -> None:
    with pytest.raises(InputError, match="has 1 class; allowed: at least 2"):
        space_of(BASE).check_images(MNIST, 1)


def test_all_errors_of_the_images_are_reported_at_once() -> None:
    text = BASE.replace("shift: 20", "shift: 20, canvas: 40").replace(
        "{}, cnn: {}", "{}, cnn: {kernel_size: 40}"
    )
    assert len(image_errors_of(text)) == 2
