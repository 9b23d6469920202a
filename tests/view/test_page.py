"""Tests of the page: its text, and how it behaves in a real browser."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import chromium
import pytest
from made_up import (
    ACCURACIES,
    MadeUp,
    Scores,
    as_failed,
    folder_at,
    made_up_search,
    made_up_sweep,
    made_up_test_set,
    on_device,
)
from pages import grid, page_of, rebuild, section

from mnist_ray.analysis.reading import results_of_space
from mnist_ray.analysis.tabulation import tabulate
from mnist_ray.view.report import render

SECTIONS = [
    *("findings", "table", "trials", "differences", "learning", "robustness"),
    *("confusion", "hardest", "sanity", "failed", "provenance"),
]
HOSTILE = "<script>document.title = 'hacked'</script><img src=x onerror=alert(1)>"


def without_records() -> MadeUp:
    sweep = made_up_sweep()
    sweep.records.clear()
    return sweep


def all_failed() -> MadeUp:
    sweep = made_up_sweep()
    for key, record in sweep.records.items():
        sweep.records[key] = as_failed(record)
    return sweep


def robustness() -> MadeUp:
    return made_up_sweep(
        {
            "variants": {"centered": {"canvas": 12}, "shifted": {"shift": 4}},
            "evaluate": {"shifts": [0, 2, 4]},
        },
        accuracies=ACCURACIES,
    )


def every_variant() -> MadeUp:
    noisy = {"transform": "own:noise", "sigma": 60}
    variants = {"centered": {}, "noisy": noisy}
    return made_up_sweep({"variants": variants, "evaluate": {"variants": "all"}})


def two_devices() -> MadeUp:
    sweep = made_up_sweep(accuracies=ACCURACIES)
    for number, (key, record) in enumerate(list(sweep.records.items())):
        if number % 3 == 2:
            sweep.records[key] = on_device(record, "NVIDIA H200")
    return sweep


def many_classes() -> MadeUp:
    return made_up_sweep(test_set=made_up_test_set(620, classes=62))


SCORES: Scores = {
    0: [0.80, 0.82, 0.84],
    1: [0.90, 0.92, 0.94, 0.89, 0.91],
    2: [0.95, None],
    "default": [0, 0, 0, 0.90, 0.92],
}
"""Of the configurations of a search, by number."""


SWEEPS: Mapping[str, Callable[[], MadeUp]] = {
    "usual": lambda: made_up_sweep(accuracies=ACCURACIES),
    "one trial": lambda: made_up_sweep({"trials": 1}),
    "one epoch": lambda: made_up_sweep({"training": {"epochs": 1}}),
    "nothing wrong": lambda: made_up_sweep(accuracies=1.0),
    "no records": without_records,
    "all failed": all_failed,
    "grid": grid,
    "robustness": robustness,
    "every variant": every_variant,
    "two devices": two_devices,
    "many classes": many_classes,
}
SEARCHES: Mapping[str, Callable[[], MadeUp]] = {
    "ended search": lambda: made_up_search(SCORES),
    "unfinished search": lambda: made_up_search(SCORES, at_most=4),
    "search not begun": lambda: made_up_search(SCORES, at_most=0),
    "search without winner": lambda: made_up_search({0: [None], 1: [0.9, None], 2: [None]}),
    "not afresh yet": lambda: made_up_search(SCORES, at_most=8),
}


@cache
def page_named(name: str) -> str:
    return page_of({**SWEEPS, **SEARCHES}[name]())


FROM_PREDICTIONS = {"learning", "confusion", "hardest", "sanity"}
LEFT_OUT = {
    "no records": {"trials", "differences", "robustness", "failed", *FROM_PREDICTIONS},
    "all failed": {"trials", "differences", "robustness", *FROM_PREDICTIONS},
    "robustness": {"failed"},
    "every variant": {"failed"},
    "ended search": {"robustness"},
    "search not begun": {"failed"},
}
"""Sections that have nothing to show; of the other sweeps only robustness and failures."""


@pytest.mark.parametrize("name", SWEEPS)
def test_the_sections_that_have_something_to_show_are_there_in_order(name: str) -> None:
    page = page_named(name)
    without = LEFT_OUT.get(name, {"robustness", "failed"})
    expected = [each for each in SECTIONS if each not in without]
    if name == "grid":
        expected.insert(1, "grid")
    assert re.findall(r'<section id="(\w+)">', page) == expected
    assert len(page.encode()) < 3_000_000


def test_what_a_page_does_not_show_it_names_with_the_reason() -> None:
    provenance = section(page_named("no records"), "provenance")
    named = provenance.partition("Not shown")[2]
    assert "robustness: the search space does not ask for other test sets" in named
    assert "evaluate: {shifts:" in named
    assert "learning curves: no epochs are recorded" in named
    assert "No trial has finished." in section(page_named("no records"), "findings")


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_has_a_section_however_far_it_has_come(name: str) -> None:
    sections = re.findall(r'<section id="(\w+)">', page_named(name))
    order = ["findings", "table", "search", *SECTIONS[2:]]
    assert sections == [each for each in order if each in sections]
    assert {"findings", "search", "provenance"} <= set(sections)
    assert ("table" in sections) == (name in ("ended search", "not afresh yet"))


def test_winner_and_default_stand_beside_each_other() -> None:
    search = section(page_named("ended search"), "search")
    rows = re.findall(r"<tr>\n<th scope=\"row\">.*?</tr>", search, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    assert [row[1] for row in cells] == ["winner", "default"]
    assert cells[0][3] == "<strong>0.8500</strong>"
    assert cells[0][6:] == ["0.9200", "0.9000", "0.0200"]
    assert cells[1][6:] == ["\N{EN DASH}", "0.9100", "\N{EN DASH}"]
    trials = section(page_named("ended search"), "trials")
    assert "feed_forward · winner" in trials
    assert "feed_forward · default" in trials


def test_configurations_are_shown_by_score_and_what_cannot_win_last() -> None:
    figure = re.search(r'aria-label="([^"]*search for[^"]*)"', page_named("ended search"))
    assert figure
    named = re.findall(r"(\d): [\d.]+ ([\d.]+, n = \d(?:, \w+)?)", figure[1])
    assert named == [
        ("1", "0.9200, n = 3, winner"),
        ("0", "0.8200, n = 3"),
        ("2", "0.9500, n = 1, failed"),
    ]


def test_the_search_figure_begins_with_winner_and_default_afresh() -> None:
    figure = re.search(r'aria-label="([^"]*search for[^"]*)"', page_named("ended search"))
    assert figure
    # Fresh trials: 0.89 and 0.91, 0.90 and 0.92; t(1 degree of freedom) * 0.01 = 0.1271.
    winner, default, *configurations = figure[1].split("; ")
    assert winner.endswith("winner, afresh 0.9000 [0.7729, 1.0271], n = 2")
    assert default == "default, afresh 0.9100 [0.7829, 1.0371], n = 2"
    assert len(configurations) == 3
    assert "afresh" not in page_named("unfinished search").split("aria-label")[2]


def test_sweeps_side_by_side_show_what_differs_between_them() -> None:
    page = page_of_sweeps({"monday": {"epochs": 1}, "tuesday": {"epochs": 3}})
    differences = section(page, "findings").partition("What differs between the sweeps")[2]
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", differences)
    assert cells == ["", "monday", "tuesday", "training.epochs", "1", "3"]
    assert '<th scope="col" class="wide">epochs</th>' in section(page, "table")
    # The same test digits are in one figure, whatever sweep they are of.
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", section(page, "trials"))
    assert captions == ["Centered digits", "Shifted digits"]
    assert "monday · cnn · epochs=1" in section(page, "trials")


def test_sweeps_of_other_seeds_have_other_test_digits() -> None:
    page = page_of_sweeps({"monday": {}, "tuesday": {}}, seeds=[0, 1])
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", section(page, "trials"))
    assert captions == [
        f"{variant} digits, {sweep}"
        for sweep in ("monday", "tuesday")
        for variant in ("Centered", "Shifted")
    ]


def test_sweeps_side_by_side_that_do_not_differ_say_so() -> None:
    findings = section(page_of_sweeps({"monday": {}, "tuesday": {}}), "findings")
    assert "Neither their search spaces" in findings


def page_of_sweeps(training: Mapping[str, Mapping[str, object]], seeds: Sequence[int] = ()) -> str:
    """The page of sweeps side by side, by name with what they train with."""
    sweeps = []
    for position, (name, settings) in enumerate(training.items()):
        seed = seeds[position] if seeds else 0
        made = made_up_sweep({"training": settings, "seed": seed}, accuracies=ACCURACIES)
        results = results_of_space(
            made.space, made.dataset_info, made.records, made.test_set, name=name
        )
        sweeps.append(results)
    return render(sweeps, tabulate(sweeps))


def test_architectures_of_equal_settings_are_both_shown() -> None:
    page = page_of(
        made_up_sweep({"architectures": {"cnn": {}, "twin": {"build": "cnn"}}}, accuracies=0.9)
    )
    rows = re.findall(r'<th scope="row"><span[^>]*></span>(\w+)<', section(page, "table"))
    assert rows == ["cnn", "cnn", "twin", "twin"]
    # Their trials were run once.
    assert "6 finished trials in 4 cells" in page


def test_equal_accuracies_are_no_certainty() -> None:
    page = page_of(
        made_up_sweep({"trials": 2}, accuracies={pair: [0.9, 0.9] for pair in ACCURACIES})
    )
    assert "no spread seen in n = 2" in section(page, "table")
    assert "0.9000 to 0.9000" not in page
    assert "0.9000, no spread seen, n = 2" in section(page, "trials")


def test_a_cell_with_a_trial_far_below_the_others_is_marked_with_advice() -> None:
    steady = [0.95, 0.955, 0.96, 0.945, 0.95, 0.955]
    accuracies = dict.fromkeys(ACCURACIES, steady) | {("cnn", "shifted"): [*steady[:5], 0.7]}
    page = page_of(made_up_sweep({"trials": 6}, accuracies=accuracies))
    table = section(page, "table")
    marked = re.findall(r'<td>([\d. to]*)<span class="bad">\*</span></td>', table)
    assert len(marked) == 1
    assert '<td class="bad">0.7000</td>' in table
    assert "Run more trials" in table
    assert section(page, "trials").count("]*, n = 6") >= 1
    assert '<span class="bad">*</span>' not in page_named("usual")


def test_the_top_of_an_unfinished_sweep_says_what_is_missing_and_what_runs_it() -> None:
    sweep = made_up_sweep(accuracies=ACCURACIES)
    first, *_, before_last, last = sweep.records
    sweep.records[first] = as_failed(sweep.records[first])
    del sweep.records[before_last], sweep.records[last]
    results = results_of_space(sweep.space, sweep.dataset_info, sweep.records, sweep.test_set)
    results = replace(results, command="mnist-ray sweep notebook --trials 3")
    top = render([results], tabulate([results])).partition("<section")[0]
    assert "Of 12 trials, 2 have not run to the end yet and 1 has failed." in top
    assert "<li>cnn · shifted: 2 of 3 trials to run</li>" in top
    assert "<li>feed_forward · centered: 1 of 3 trials to run</li>" in top
    assert "<pre>mnist-ray sweep notebook --trials 3</pre>" in top
    assert "have not run" not in page_named("usual")


def test_the_top_of_an_unfinished_search_says_how_much_of_it_is_missing() -> None:
    top = page_named("unfinished search").partition("<section")[0]
    assert "Of at least 9 trials, 5 have not run to the end yet." in top
    assert "search of feed_forward on centered: 5 of 9 trials to run" in top


def test_a_search_without_a_winner_says_why() -> None:
    search = section(page_named("search without winner"), "search")
    assert "all 3 configurations failed. The first error: ValueError: no such luck" in search
    failed = section(page_named("search without winner"), "failed")
    assert "feed_forward · centered · configuration 0, trial 0" in failed
    unfinished = section(page_named("unfinished search"), "search")
    assert "has not ended" in unfinished


def test_a_matrix_of_each_architecture_says_what_models_do_on_every_variant() -> None:
    matrices = section(page_named("every variant"), "robustness")
    assert matrices.count("<table") == 2
    for name in ("feed_forward", "cnn"):
        assert f"Trained on, tested on: {name}" in matrices
    assert len(re.findall(r"<strong>0\.\d{3}</strong>", matrices)) == 4  # each cell's own test set
    assert len(re.findall(r"± 0\.\d{3}", matrices)) > 4


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


def test_equal_errors_are_shown_once_with_how_many_trials_have_them() -> None:
    sweep = made_up_sweep()
    first, second, third, *_ = sweep.records
    for key, error in [(first, "no such luck"), (second, "no memory"), (third, "no such luck")]:
        sweep.records[key] = as_failed(sweep.records[key], f"ValueError: {error}")
    failed = section(page_of(sweep), "failed")
    assert failed.count('<p class="error">ValueError: no such luck</p>') == 1
    assert failed.count('<p class="error">ValueError: no memory</p>') == 1
    assert re.findall(r"<summary>(.*) with the same error</summary>", failed) == ["1 more trial"]
    # Every failed trial can still be found.
    assert re.findall(r"<code>(\w+)</code>", failed) == [key[:8] for key in (first, third, second)]


def test_an_architecture_has_one_colour_everywhere() -> None:
    page = page_named("usual")
    swatches = re.findall(r"--series-(\d)\)\"></span>(\w+)", page)
    assert {name: number for number, name in swatches} == {"feed_forward": "0", "cnn": "1"}
    assert len(set(swatches)) == 2


def test_the_probability_that_all_digits_are_right_is_the_accuracy_to_their_number() -> None:
    page = page_of(made_up_sweep({"trials": 2}, accuracies={p: [0.9, 0.9] for p in ACCURACIES}))
    assert f"{0.9**5:.3f}" in page[page.index('<section id="sanity">') :]


@pytest.mark.parametrize(
    ("names", "caption"),
    [
        (["plain", "moved"], "from plain to moved"),
        (["plain", "moved", "far"], "from plain to each"),
    ],
)
def test_the_drops_name_their_variants(names: list[str], caption: str) -> None:
    variants = {name: {"shift": 2 * place} for place, name in enumerate(names)}
    page = page_of(made_up_sweep({"variants": variants}, accuracies=0.9))
    assert f"The drop {caption}" in section(page, "differences")


# In a browser


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


def test_a_browser_shows_a_search_on_a_phone(browser: chromium.Page, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page_named("ended search"), encoding="utf-8")
    browser.open(tmp_path / "report.html", width=390)
    assert browser.complaints() == []
    assert browser.evaluate("document.querySelectorAll('#search svg').length") == 1
    shown = "[...document.querySelectorAll('#search thead th')].filter(h => h.offsetWidth)"
    headings = browser.evaluate(f"{shown}.map(h => h.innerText).join()").split(",")
    assert headings[:3] == ["architecture", "fresh test\naccuracy", "95 % interval"]
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


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
