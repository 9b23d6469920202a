"""Tests of the page: its text, and how it behaves in a real browser."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import chromium
import pytest
from made_up import (
    ACCURACIES,
    MadeUp,
    as_failed,
    folder_at,
    made_up_sweep,
    made_up_test_set,
    on_device,
)

from mnist_ray.page import render
from mnist_ray.report import rebuild
from mnist_ray.review import review_space
from mnist_ray.tables import tabulate

SECTIONS = [
    *("findings", "table", "trials", "differences", "learning", "robustness"),
    *("confusion", "hardest", "sanity", "failed", "provenance"),
]
HOSTILE = "<script>document.title = 'hacked'</script><img src=x onerror=alert(1)>"


def page_of(sweep: MadeUp) -> str:
    review = review_space(sweep.space, sweep.facts, sweep.records, sweep.test_set)
    return render([review], tabulate([review]))


def without_records() -> MadeUp:
    sweep = made_up_sweep()
    sweep.records.clear()
    return sweep


def all_failed() -> MadeUp:
    sweep = made_up_sweep()
    for key, record in sweep.records.items():
        sweep.records[key] = as_failed(record)
    return sweep


def grid() -> MadeUp:
    rates = [0.0001, 0.0003, 0.001, 0.003, 0.01]
    return made_up_sweep(
        {
            "architectures": {
                "feed_forward": {"dropout": {"grid_search": [0.0, 0.5]}},
                "cnn": {"dropout": {"grid_search": [0.0, 0.5]}},
            },
            "training": {"learning_rate": {"grid_search": rates}, "epochs": 2},
        },
        accuracies=ACCURACIES,
    )


def robustness() -> MadeUp:
    return made_up_sweep(
        {
            "variants": {"centered": {"canvas": 12}, "shifted": {"shift": 4}},
            "evaluate": {"shifts": [0, 2, 4]},
        },
        accuracies=ACCURACIES,
    )


def two_devices() -> MadeUp:
    sweep = made_up_sweep(accuracies=ACCURACIES)
    for number, (key, record) in enumerate(list(sweep.records.items())):
        if number % 3 == 2:
            sweep.records[key] = on_device(record, "NVIDIA H200")
    return sweep


def many_classes() -> MadeUp:
    return made_up_sweep(test_set=made_up_test_set(620, classes=62))


SWEEPS: Mapping[str, Callable[[], MadeUp]] = {
    "usual": lambda: made_up_sweep(accuracies=ACCURACIES),
    "one trial": lambda: made_up_sweep({"trials": 1}),
    "one epoch": lambda: made_up_sweep({"training": {"epochs": 1}}),
    "nothing wrong": lambda: made_up_sweep(accuracies=1.0),
    "no records": without_records,
    "all failed": all_failed,
    "grid": grid,
    "robustness": robustness,
    "two devices": two_devices,
    "many classes": many_classes,
}


@cache
def page_named(name: str) -> str:
    return page_of(SWEEPS[name]())


@pytest.mark.parametrize("name", SWEEPS)
def test_every_section_is_there_in_order_whatever_there_is_to_show(name: str) -> None:
    page = page_named(name)
    assert re.findall(r'<section id="(\w+)">', page) == SECTIONS
    assert len(page.encode()) < 3_000_000


def test_the_page_is_the_same_for_the_same_records() -> None:
    assert page_of(SWEEPS["usual"]()) == page_named("usual")


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    page = page_named("usual")
    sources = re.findall(r'(?:src|href|xlink:href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "<script" not in page


def test_every_picture_has_a_text_alternative() -> None:
    page = page_named("robustness")
    assert all("aria-label=" in tag for tag in re.findall(r"<svg[^>]*>", page))
    assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", page))


def test_names_and_messages_stay_text() -> None:
    sweep = made_up_sweep({"architectures": {HOSTILE: {"build": "cnn"}, "cnn": {}}})
    key = next(iter(sweep.records))
    sweep.records[key] = as_failed(sweep.records[key], f"ValueError: {HOSTILE}")
    page = page_of(sweep)
    assert "<script>document" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;document.title" in page


def test_failed_trials_are_shown_with_message_and_traceback() -> None:
    sweep = made_up_sweep()
    key = next(iter(sweep.records))
    sweep.records[key] = as_failed(sweep.records[key], "ValueError: no such luck")
    page = page_of(sweep)
    failed = page[page.index('<section id="failed">') :]
    assert "ValueError: no such luck" in failed
    assert "Traceback (most recent call last)" in failed


def test_an_architecture_has_one_colour_everywhere() -> None:
    page = page_named("usual")
    swatches = re.findall(r"--series-(\d)\)\"></span>(\w+)", page)
    assert {name: number for number, name in swatches} == {"feed_forward": "0", "cnn": "1"}
    assert len(set(swatches)) == 2


def test_the_table_names_what_a_grid_varies_and_nothing_else() -> None:
    headings = re.findall(r'<th scope="col">(\w+)</th>', page_named("grid"))
    assert {"dropout", "learning_rate"} <= set(headings)
    assert "optimizer" not in headings


def test_the_probability_that_all_digits_are_right_is_the_accuracy_to_their_number() -> None:
    page = page_of(made_up_sweep({"trials": 2}, accuracies={p: [0.9, 0.9] for p in ACCURACIES}))
    assert f"{0.9**5:.3f}" in page[page.index('<section id="sanity">') :]


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Page]:
    if chromium.PROGRAM is None:
        pytest.skip("there is no Chromium")
    with chromium.chromium() as page:
        yield page


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "made-up"
    sweep = made_up_sweep(
        {
            "architectures": {HOSTILE: {"build": "cnn"}, "feed_forward": {}},
            "variants": {"centered": {"canvas": 12}, "shifted": {"shift": 4}},
            "evaluate": {"shifts": [0, 4]},
        }
    )
    key = next(iter(sweep.records))
    sweep.records[key] = as_failed(sweep.records[key], f"ValueError: {HOSTILE}")
    sweep.write(folder_at(folder))
    rebuild(folder_at(folder))
    return folder / "report.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_the_page_without_complaint_or_request(
    browser: chromium.Page, hostile_page: Path, width: int, dark: bool
) -> None:
    browser.open(hostile_page, width=width, dark=dark)
    assert browser.complaints() == []
    assert browser.requests() == [hostile_page.as_uri()]
    shown = browser.evaluate("[...document.querySelectorAll('section')].map(s => s.id).join()")
    assert shown.split(",") == SECTIONS
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_a_browser_takes_a_hostile_name_for_text(
    browser: chromium.Page, hostile_page: Path
) -> None:
    browser.open(hostile_page, width=1280)
    assert browser.evaluate("document.title") == "made-up \N{EN DASH} mnist_ray"
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.evaluate("document.querySelectorAll('img:not([src^=data])').length") == 0
    assert HOSTILE in browser.evaluate("document.querySelector('.legend').textContent")
    assert HOSTILE in browser.evaluate("document.querySelector('#failed').textContent")


def test_a_browser_changes_all_colours_with_the_scheme(
    browser: chromium.Page, hostile_page: Path
) -> None:
    colours = []
    for dark in (False, True):
        browser.open(hostile_page, width=1280, dark=dark)
        text = "getComputedStyle(document.querySelector('#trials svg text')).fill"
        colours.append(
            (
                browser.evaluate("getComputedStyle(document.body).backgroundColor"),
                browser.evaluate(text),
            )
        )
    light, dark_ = colours
    assert light[0] != dark_[0]
    assert light[1] != dark_[1]
