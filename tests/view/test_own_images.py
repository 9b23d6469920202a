"""The page and the terminal of data that are no digits: colours, class names, and their words."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
from made_up import ACCURACIES, MadeUp, made_up_sweep, made_up_test_set
from pages import page_of, section
from PIL import Image
from rich.console import Console

from mnist_ray.view.cell_views import make_cell_views
from mnist_ray.view.examples import recorded_guesses
from mnist_ray.view.guesses import tabulate_guesses

NAMES = ("T-shirt/top", "<Trouser>", *(f"class {number}" for number in range(2, 10)))


def in_colour() -> MadeUp:
    grey = made_up_test_set()
    images = np.stack([grey.images, grey.images // 2, grey.images // 4], axis=-1)
    named = replace(grey, dataset="clothes", images=images, class_names=NAMES)
    return made_up_sweep({"dataset": "clothes.npz"}, accuracies=ACCURACIES, test_set=named)


def test_images_that_are_no_digits_are_called_images_on_the_whole_page() -> None:
    page = page_of(in_colour())
    assert "The hardest images" in page
    assert "what other test images would" in page
    assert "Shifted images" in page
    assert "digit" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower()


def test_classes_have_their_names_on_axes_and_beside_every_image() -> None:
    page = page_of(in_colour())
    for name in ("confusion", "hardest", "sanity"):
        shown = section(page, name)
        assert "class 5" in shown or "class 6" in shown
        assert "&lt;Trouser&gt;" in shown
        assert "<Trouser>" not in shown
    assert "<h2>Confusion matrices</h2>" in page
    assert re.search(r"% of [^,.]+ as (class \d|T-shirt/top|&lt;Trouser&gt;)", page)


def test_images_are_shown_in_colour() -> None:
    shown = re.findall(r"data:image/png;base64,([^\"]+)", section(page_of(in_colour()), "hardest"))
    images = [Image.open(io.BytesIO(base64.b64decode(content))) for content in shown]
    assert {image.mode for image in images} == {"RGB"}
    assert {image.size for image in images} == {(8, 8), (12, 12)}


def test_each_image_has_a_column_in_the_terminal_where_classes_have_names() -> None:
    sweep = in_colour()
    views = make_cell_views([sweep.results()], sweep.tables())
    guesses = recorded_guesses([view for view in views if view.cell.variant == "centered"])
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(tabulate_guesses(guesses, title="5 random test images"))
    (truth,) = [line for line in console.export_text().splitlines() if "truth" in line]
    assert [cell.strip() for cell in truth.split("│")[2:7]] == guesses[0].true_names
