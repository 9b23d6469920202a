"""The page and the terminal of data that are no digits: colours, class names, and their words."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import ACCURACIES, MadeUp, folder_at, made_up_sweep, made_up_test_set
from pages import page_of, rebuild, section
from PIL import Image
from rich.console import Console

from mnist_ray.errors import InputError
from mnist_ray.view.cell_views import make_cell_views
from mnist_ray.view.examples import recorded_guesses, tabulate_guesses

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


def test_the_space_renames_classes_and_changes_no_key(tmp_path: Path) -> None:
    folder, names = folder_at(tmp_path), [f"number {label}" for label in range(10)]
    sweep, renamed = in_colour(), made_up_sweep({"dataset": "clothes.npz", "classes": names})
    assert set(sweep.records) == set(renamed.records)
    sweep.write(folder)
    folder.write(folder.space, renamed.space.to_yaml().encode())
    rebuild(folder)
    page = folder.read(folder.page).decode()
    assert "number 5" in section(page, "confusion")
    assert "class 5" not in section(page, "confusion")


def test_a_space_whose_names_do_not_fit_the_test_images_is_refused(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    in_colour().write(folder)
    changed = made_up_sweep({"classes": ["cat", "dog"]}).space
    folder.write(folder.space, changed.to_yaml().encode())
    with pytest.raises(InputError, match="classes: got 2 names; allowed: one for each of the 10"):
        rebuild(folder)


def test_each_image_has_a_column_in_the_terminal_where_classes_have_names() -> None:
    sweep = in_colour()
    views = make_cell_views([sweep.results()], sweep.tables())
    guesses = recorded_guesses([view for view in views if view.cell.variant == "centered"])
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(tabulate_guesses(guesses, title="5 random test images"))
    (truth,) = [line for line in console.export_text().splitlines() if "truth" in line]
    assert [cell.strip() for cell in truth.split("│")[2:7]] == guesses[0].true_names
