"""Tests of the page's charts: what is drawn, and its SVG."""

import io
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up import made_up_sweep
from numpy.typing import NDArray
from PIL import Image

from mnist_ray.analysis.grids import grids
from mnist_ray.ledger.record import Epoch
from mnist_ray.view import heat_maps, line_charts, svg
from mnist_ray.view.cell_views import CellView, make_cell_views
from mnist_ray.view.examples import image_png
from mnist_ray.view.forest_plot import ChartRow, forest_plot
from mnist_ray.view.svg import Chart

ROWS = [
    ChartRow("cnn", "0.95, n = 3", 0, 0.95, (0.94, 0.96), [(0.94, ""), (0.95, ""), (0.96, "")]),
    ChartRow("feed_forward", "0.87, n = 1", 1, 0.87, dots=[(0.87, "")]),
]
MATRIX = np.array([[9, 1, 0], [0, 10, 0], [2, 0, 8]])


def dots_chart(rows: list[ChartRow] = ROWS, name: str = "dots", what: str = "Trials") -> Chart:
    return forest_plot(rows, name=name, caption="", what=what, x_label="test accuracy")


def dots(rows: list[ChartRow] = ROWS, name: str = "dots") -> str:
    return dots_chart(rows, name).svg


def differences() -> str:
    rows = [replace(row, dots=()) for row in ROWS]
    return forest_plot(
        rows, name="f", caption="", what="Differences", x_label="difference", around_zero=True
    ).svg


def confusion(names: Sequence[str] = "012", matrix: NDArray[np.int64] = MATRIX) -> str:
    return heat_maps.confusion(matrix, names, series=2, full_scale=0.2, name="c", caption="cnn").svg


def made_up_views(changes: Mapping[str, object] | None = None) -> list[CellView]:
    sweep = made_up_sweep(changes)
    return make_cell_views([sweep.results()], sweep.tables())


def learning(validation: Sequence[Sequence[float | None]], trials: Sequence[int]) -> str:
    """The chart of a cell, of each trial of which the validation accuracies are known."""
    view = made_up_views()[0]
    (record, *_) = view.results.records
    records = tuple(
        replace(
            record,
            identity={**record.identity, "trial": trial},
            epochs=tuple(Epoch(0.5, 0.8, None, value) for value in line),
        )
        for trial, line in zip(trials, validation, strict=True)
    )
    shown = replace(view, results=replace(view.results, records=records))
    (chart,) = line_charts.learning_charts([shown])
    return chart.svg


def robustness(*lines: list[dict[str, Any]]) -> str:
    views = [
        replace(view, series=0, robustness=rows)
        for view, rows in zip(made_up_views({"evaluate": {"shifts": [0, 5]}}), lines, strict=False)
    ]
    chart = line_charts.robustness_chart(views)
    assert chart
    return chart.svg


def all_figures() -> dict[str, str]:
    return {
        "dots": dots(),
        "forest": differences(),
        "learning": learning([[0.8, 0.9], [None, 0.9], []], [0, 1, 2]),
        "robustness": robustness(points((0.9, 0.88, 0.92), (0.8, None, None))),
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
    row = ChartRow(hostile, "", 0, 0.5, dots=[(0.5, "")])
    root = ElementTree.fromstring(dots_chart([row], what=hostile).svg)
    assert (root.get("aria-label") or "").startswith(f"{hostile}: {hostile}")
    shown = " ".join(element.text or "" for element in root.iter() if element.tag.endswith("text"))
    assert hostile in shown
    assert not [element for element in root.iter() if "script" in element.tag]


def test_control_characters_in_a_name_are_replaced() -> None:
    drawing = dots([ChartRow("bell\a", "", 0, 0.5, dots=[(0.5, "")])], name="d")
    shown = [e.text for e in ElementTree.fromstring(drawing).iter() if e.tag.endswith("text")]
    assert "bell\N{REPLACEMENT CHARACTER}" in shown


def test_every_trial_is_a_dot() -> None:
    drawing = dots([ChartRow("a", "", 0, 0.5, dots=[(x, "") for x in np.linspace(0, 1, 500)])])
    paths = re.findall(r'<path d="([^"]*)"[^>]*stroke-linecap: round', drawing)
    assert sum(path.count("M") for path in paths) == 500


def test_ten_thousand_dots_take_less_than_half_a_megabyte() -> None:
    values = [(x, "") for x in np.random.default_rng(0).normal(0.9, 0.01, 10_000)]
    assert len(dots([ChartRow("a", "", 0, 0.9, (0.89, 0.91), values)])) < 500_000


def test_numbers_of_a_confusion_matrix_are_percent_of_the_true_class() -> None:
    root = ElementTree.fromstring(confusion())
    shown = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"90", "10", "100", "20", "80"} <= set(shown)
    many = np.pad(MATRIX, ((0, 10), (0, 10)))
    without = ElementTree.fromstring(confusion("0123456789abc", many))
    assert "90" not in [e.text for e in without.iter() if e.tag.endswith("text")]


def test_the_axes_of_a_confusion_matrix_have_the_names_of_the_classes() -> None:
    drawing = confusion(["cat", "an $odd$ <dog>", "a very long name of an owl"])
    root = ElementTree.fromstring(drawing)
    shown = Counter(e.text for e in root.iter() if e.tag.endswith("text"))
    assert shown["cat"] == shown["an $odd$ <dog>"] == shown["a very long nam…"] == 2


def test_long_labels_are_broken_instead_of_overlapping() -> None:
    label = "feed_forward · shifted: learning_rate 0.0001 to 0.0003 · dropout=0.5 · batch_size=128"
    drawing = dots([ChartRow(label, "0.9613 [0.9587, 0.9639], n = 9", 0, 0.9, dots=[(0.9, "")])])
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
        "import sys, mnist_ray.view.line_charts, mnist_ray.view.row_charts; "
        "assert not {'ray', 'tensorflow', 'matplotlib.pyplot'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_dot_says_which_trial_it_is_and_a_cell_of_a_matrix_its_count() -> None:
    row = ChartRow("a", "", 0, 0.5, dots=[(0.6, "trial 0: 0.6"), (0.4, "trial 1: 0.4")])
    marks = re.findall(r'<circle cx="([\d.]+)"[^>]*>\s*<title>(.*?)</title>', dots([row]))
    assert [title for _, title in marks] == ["trial 1: 0.4", "trial 0: 0.6"]
    assert float(marks[0][0]) < float(marks[1][0])
    squares = re.findall(r"<rect [^>]*>\s*<title>(.*?)</title>", confusion())
    assert "truth 2, predicted 0: 2 of 10" in squares
    assert len(squares) == 5


def test_a_point_of_a_learning_curve_says_its_trial_and_epoch() -> None:
    chart = learning([[0.8, 0.9], [None, 0.85]], trials=[0, 4])
    assert re.findall("<title>(.*? validation accuracy .*?)</title>", chart) == [
        "trial 0, epoch 1: validation accuracy 0.8000",
        "trial 0, epoch 2: validation accuracy 0.9000",
        "trial 4, epoch 2: validation accuracy 0.8500",
    ]


def test_of_many_points_of_learning_curves_the_last_epochs_say_what_they_are() -> None:
    chart = learning([[0.8] * 50] * 20, trials=range(20))
    titles = re.findall("<title>(.*? validation accuracy .*?)</title>", chart)
    assert len(titles) == 20
    assert all("epoch 50" in title for title in titles)


def test_axes_of_accuracies_end_at_0_and_1_whatever_the_interval() -> None:
    row = ChartRow("a", "", 0, 0.95, (0.5, 1.4), [(0.9, ""), (1.0, "")])
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", dots([row]))
    ticks = [float(text) for text in texts if re.fullmatch(r"\d\.\d+", text)]
    assert 0.5 <= min(ticks) <= max(ticks) <= 1.0
    root = ElementTree.fromstring(dots([row]))
    width = float(root.attrib["viewBox"].split()[2])
    drawn = re.findall(r"M ([\d.]+) [\d.]+ L ([\d.]+)", dots([row]).replace("\n", " "))
    assert all(float(x) <= width + 0.1 for line in drawn for x in line)


def test_a_mean_over_few_values_is_a_hollow_diamond() -> None:
    few = dots([ChartRow("a", "", 0, 0.5, dots=[(0.5, "")], n=2)])
    assert few != dots([ChartRow("a", "", 0, 0.5, dots=[(0.5, "")], n=3)])
    assert "fill: none" in few


def points(*intervals: tuple[float, float | None, float | None]) -> list[dict[str, Any]]:
    columns = ("mean_test_accuracy", "ci95_low", "ci95_high")
    here = {"variant": "centered", "test_variant": "centered"}
    return [
        {**here, "test_shift": 5 * i, "trials": 3, **dict(zip(columns, interval, strict=True))}
        for i, interval in enumerate(intervals)
    ]


def test_lines_of_one_colour_differ_in_their_dashes_and_overlapping_bands_are_whiskers() -> None:
    first = points((0.9, 0.88, 0.92), (0.8, 0.78, 0.82))
    apart = points((0.7, 0.68, 0.72), (0.6, 0.58, 0.62))
    close = points((0.91, 0.89, 0.93), (0.6, 0.58, 0.62))
    dashes = re.findall(r"stroke-dasharray: ([\d.,]+ ?[\d.,]*)", robustness(first, apart, close))
    assert len(set(dashes)) >= 2
    band = "fill-opacity: 0.18"
    assert band in robustness(first, apart)
    assert band not in robustness(first, close)


def test_a_drawing_can_be_written_for_a_paper() -> None:
    drawing = dots_chart()
    for kind, start in (("pdf", b"%PDF"), ("svg", b"<?xml")):
        assert drawing.as_file(kind).startswith(start)
        assert drawing.as_file(kind) == drawing.as_file(kind)
    assert b"#2a6aa8" in drawing.as_file("svg")


def test_the_colours_of_figures_are_those_of_the_page() -> None:
    css = (Path(svg.__file__).parent / "page" / "report.css").read_text()
    light = dict(re.findall(r"--([\w-]+): light-dark\((#\w+),", css))
    variables = {f"var(--{name})": colour for name, colour in light.items()}
    assert {colour: variables[name] for colour, name in svg.VARIABLES.items()} == {
        colour: colour for colour in svg.VARIABLES
    }


def test_a_square_of_a_grid_says_a_mean_of_1_as_such() -> None:
    rates = {"learning_rate": {"grid_search": [0.01, 0.001]}, "epochs": 1}
    dropouts = {"cnn": {"dropout": {"grid_search": [0.0, 0.5]}}}
    (grid,) = grids(
        made_up_sweep(
            {"architectures": dropouts, "variants": {"centered": {}}, "training": rates},
            accuracies=1.0,
        ).results()
    )
    (chart,) = heat_maps.grid_charts(grid, series=0, position=0)
    assert ">1.000<" in chart.svg
    assert ">.000<" not in chart.svg
