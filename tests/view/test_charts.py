"""Tests of the page's charts: `forest_plot`, `panel_charts` and their SVG."""

import io
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mnist_ray.view import confusion_charts, forest_plot, panel_charts, svg
from mnist_ray.view.examples import image_png
from mnist_ray.view.forest_plot import ChartRow
from mnist_ray.view.panel_charts import Curve, Line

ROWS = [
    ChartRow("cnn", "0.95, n = 3", 0, 0.95, 0.94, 0.96, [0.94, 0.95, 0.96]),
    ChartRow("feed_forward", "0.87, n = 1", 1, 0.87, None, None, [0.87]),
]
MATRIX = np.array([[9, 1, 0], [0, 10, 0], [2, 0, 8]])


def dots(rows: list[ChartRow] = ROWS, name: str = "dots") -> str:
    return forest_plot.dots(
        rows, name=name, alternative="Every trial", x_label="test accuracy"
    ).svg()


def confusion(names: Sequence[str] = "012", *, numbers: bool = True) -> str:
    return confusion_charts.confusion(
        MATRIX, names, series=2, full_scale=0.2, numbers=numbers, name="c", alternative="Taken for"
    ).svg()


def learning(*curves: Curve) -> str:
    return panel_charts.learning_curves(
        [("accuracy", curves)], limits=[(0.7, 1.0)], name="l", alternative="Learning"
    ).svg()


def robustness(lines: list[Line]) -> str:
    return panel_charts.robustness_lines(lines, name="r", alternative="Robustness").svg()


def all_figures() -> dict[str, str]:
    columns = ("test_shift", "mean_test_accuracy", "ci95_low", "ci95_high")
    points = [(0, 0.9, 0.88, 0.92), (5, 0.8, None, None)]
    line = Line("cnn", 0, 0, [dict(zip(columns, point, strict=True)) for point in points])
    return {
        "dots": dots(),
        "forest": forest_plot.forest(
            ROWS, name="f", alternative="Differences", x_label="difference"
        ).svg(),
        "learning": learning(
            Curve(None, [[0.8, 0.9]], "training", [0]),
            Curve(0, [[None, 0.9], []], "validation", [0, 1]),
        ),
        "robustness": panel_charts.robustness_lines(
            [line], name="r", alternative="Robustness"
        ).svg(),
        "confusion": confusion(),
    }


def test_equal_data_give_equal_text() -> None:
    assert all_figures() == all_figures()


@pytest.mark.parametrize("name", ["dots", "forest", "learning", "robustness", "confusion"])
def test_figures_are_xml_with_a_text_alternative_and_no_size_of_their_own(name: str) -> None:
    root = ElementTree.fromstring(all_figures()[name])
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root.get("viewBox")
    assert root.get("width") is None


@pytest.mark.parametrize("name", ["dots", "forest", "learning", "robustness", "confusion"])
def test_all_colours_are_variables_of_the_page(name: str) -> None:
    drawing = all_figures()[name]
    assert "var(--series-" in drawing or name == "forest"
    assert not re.findall(r"(?:fill|stroke): ?#[0-9a-f]{3,6}", drawing)


def test_ids_of_two_figures_on_one_page_differ() -> None:
    ids = [set(re.findall(r'\bid="([^"]*)"', dots(name=name))) for name in ("first", "second")]
    assert ids[0]
    assert not ids[0] & ids[1]
    references = set(re.findall(r"url\(#([^)]*)\)", dots(name="first")))
    assert references <= ids[0]


def test_names_stay_text_whatever_is_in_them() -> None:
    hostile = '<script>alert(1)</script> $x_1$ url(#a) id="p0123456789" #000001 "quoted" 0.123456'
    row = ChartRow(hostile, "", 0, 0.5, None, None, [0.5])
    drawing = forest_plot.dots([row], name="d", alternative=hostile, x_label="x").svg()
    root = ElementTree.fromstring(drawing)
    assert root.get("aria-label") == hostile
    shown = " ".join(element.text or "" for element in root.iter() if element.tag.endswith("text"))
    assert hostile in shown
    assert not [element for element in root.iter() if "script" in element.tag]


def test_control_characters_in_a_name_are_replaced() -> None:
    drawing = dots([ChartRow("bell\a", "", 0, 0.5, None, None, [0.5])], name="d")
    shown = [e.text for e in ElementTree.fromstring(drawing).iter() if e.tag.endswith("text")]
    assert "bell\N{REPLACEMENT CHARACTER}" in shown


def test_every_trial_is_a_dot() -> None:
    drawing = dots([ChartRow("a", "", 0, 0.5, None, None, list(np.linspace(0, 1, 500)))])
    paths = re.findall(r'<path d="([^"]*)"[^>]*stroke-linecap: round', drawing)
    assert sum(path.count("M") for path in paths) == 500


def test_ten_thousand_dots_take_less_than_half_a_megabyte() -> None:
    values = list(np.random.default_rng(0).normal(0.9, 0.01, 10_000))
    assert len(dots([ChartRow("a", "", 0, 0.9, 0.89, 0.91, values)])) < 500_000


def test_numbers_of_a_confusion_matrix_are_percent_of_the_true_class() -> None:
    root = ElementTree.fromstring(confusion())
    shown = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"90", "10", "100", "20", "80"} <= set(shown)
    without = ElementTree.fromstring(confusion(numbers=False))
    assert "90" not in [e.text for e in without.iter() if e.tag.endswith("text")]


def test_the_axes_of_a_confusion_matrix_have_the_names_of_the_classes() -> None:
    drawing = confusion(["cat", "an $odd$ <dog>", "a very long name of an owl"])
    root = ElementTree.fromstring(drawing)
    shown = Counter(e.text for e in root.iter() if e.tag.endswith("text"))
    assert shown["cat"] == shown["an $odd$ <dog>"] == shown["a very long nam…"] == 2


def test_long_labels_are_broken_instead_of_overlapping() -> None:
    label = "feed_forward · shifted: learning_rate 0.0001 to 0.0003 · dropout=0.5 · batch_size=128"
    drawing = dots([ChartRow(label, "0.9613 [0.9587, 0.9639], n = 9", 0, 0.9, None, None, [0.9])])
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawing)
    assert max(len(text) for text in texts) <= 60
    assert label in " ".join(texts)


def test_digits_are_ink_on_nothing() -> None:
    image = np.array([[0, 255], [128, 0]], np.uint8)
    png = Image.open(io.BytesIO(image_png(image, is_ink=True)))
    assert png.mode == "LA"
    assert np.asarray(png)[..., 1].tolist() == image.tolist()


@pytest.mark.parametrize(("shape", "mode"), [((5, 4), "L"), ((5, 4, 3), "RGB")])
def test_other_images_are_as_they_are(shape: tuple[int, ...], mode: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    png = Image.open(io.BytesIO(image_png(image, is_ink=False)))
    assert png.mode == mode
    assert np.asarray(png).tolist() == image.tolist()


def test_figures_need_neither_ray_nor_tensorflow_nor_a_display() -> None:
    code = (
        "import sys, mnist_ray.view.panel_charts, mnist_ray.view.row_charts; "
        "assert not {'ray', 'tensorflow', 'matplotlib.pyplot'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_dot_says_which_trial_it_is_and_a_cell_of_a_matrix_its_count() -> None:
    row = ChartRow("a", "", 0, 0.5, values=[0.6, 0.4], titles=["trial 0: 0.6", "trial 1: 0.4"])
    marks = re.findall(r'<circle cx="([\d.]+)"[^>]*>\s*<title>(.*?)</title>', dots([row]))
    assert [title for _, title in marks] == ["trial 1: 0.4", "trial 0: 0.6"]
    assert float(marks[0][0]) < float(marks[1][0])
    squares = re.findall(r"<rect [^>]*>\s*<title>(.*?)</title>", confusion())
    assert "truth 2, predicted 0: 2 of 10" in squares
    assert len(squares) == 5


def test_a_point_of_a_learning_curve_says_its_trial_and_epoch() -> None:
    chart = learning(Curve(0, [[0.8, 0.9], [None, 0.85]], "validation", [0, 4]))
    assert re.findall("<title>(.*?)</title>", chart) == [
        "trial 0, epoch 1: validation accuracy 0.8000",
        "trial 0, epoch 2: validation accuracy 0.9000",
        "trial 4, epoch 2: validation accuracy 0.8500",
    ]


def test_of_many_points_of_learning_curves_the_last_epochs_say_what_they_are() -> None:
    chart = learning(Curve(0, [[0.8] * 50] * 20, "validation", range(20)))
    titles = re.findall("<title>(.*?)</title>", chart)
    assert len(titles) == 20
    assert all("epoch 50" in title for title in titles)


def test_axes_of_accuracies_end_at_0_and_1_whatever_the_interval() -> None:
    row = ChartRow("a", "", 0, 0.95, 0.5, 1.4, [0.9, 1.0])
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", dots([row]))
    ticks = [float(text) for text in texts if re.fullmatch(r"\d\.\d+", text)]
    assert 0.5 <= min(ticks) <= max(ticks) <= 1.0
    root = ElementTree.fromstring(dots([row]))
    width = float(root.attrib["viewBox"].split()[2])
    drawn = re.findall(r"M ([\d.]+) [\d.]+ L ([\d.]+)", dots([row]).replace("\n", " "))
    assert all(float(x) <= width + 0.1 for line in drawn for x in line)


def test_a_mean_over_few_values_is_a_hollow_diamond() -> None:
    few = dots([ChartRow("a", "", 0, 0.5, values=[0.5], is_few=True)])
    assert few != dots([ChartRow("a", "", 0, 0.5, values=[0.5])])
    assert "fill: none" in few


def points(*intervals: tuple[float, float, float]) -> list[dict[str, float]]:
    return [
        {"test_shift": 5.0 * i, "mean_test_accuracy": mean, "ci95_low": low, "ci95_high": high}
        for i, (mean, low, high) in enumerate(intervals)
    ]


def test_lines_of_one_colour_differ_in_their_dashes_and_overlapping_bands_are_whiskers() -> None:
    first = Line("a", 0, 0, points((0.9, 0.88, 0.92), (0.8, 0.78, 0.82)))
    apart = Line("b", 0, 1, points((0.7, 0.68, 0.72), (0.6, 0.58, 0.62)))
    close = Line("c", 0, 2, points((0.91, 0.89, 0.93), (0.6, 0.58, 0.62)))
    dashes = re.findall(r"stroke-dasharray: ([\d.,]+ ?[\d.,]*)", robustness([first, apart, close]))
    assert len(set(dashes)) >= 2
    band = "fill-opacity: 0.18"
    assert band in robustness([first, apart])
    assert band not in robustness([first, close])


def test_a_drawing_can_be_written_for_a_paper() -> None:
    drawing = forest_plot.dots(ROWS, name="d", alternative="", x_label="x")
    for kind, start in (("pdf", b"%PDF"), ("svg", b"<?xml")):
        files = [io.BytesIO(), io.BytesIO()]
        for file in files:
            drawing.write(file, kind)
        assert files[0].getvalue().startswith(start)
        assert files[0].getvalue() == files[1].getvalue()
    assert b"#2a6aa8" in files[0].getvalue()


def test_the_colours_of_figures_are_those_of_the_page() -> None:
    css = (Path(svg.__file__).parent / "page" / "report.css").read_text()
    light = dict(re.findall(r"--([\w-]+): light-dark\((#\w+),", css))
    variables = {f"var(--{name})": colour for name, colour in light.items()}
    assert {colour: variables[name] for colour, name in svg.VARIABLES.items()} == {
        colour: colour for colour in svg.VARIABLES
    }
