"""Tests of `mnist_ray.view.cell_table`: the page's table of the cells."""

import re
from pathlib import Path

import chromium
from made_up import ACCURACIES, MadeUp, made_up_sweep
from pages import grid, page_of, rows_of, section


def table_of(sweep: MadeUp) -> str:
    return section(page_of(sweep), "table")


def large_grid() -> MadeUp:
    rates = [10.0**-power for power in range(1, 9)]
    return made_up_sweep(
        {
            "architectures": {"cnn": {"dropout": {"grid_search": [0.0, 0.2, 0.4, 0.5]}}},
            "training": {"learning_rate": {"grid_search": rates}, "epochs": 1},
            "trials": 1,
        },
        accuracies=ACCURACIES,
    )


def test_many_rows_are_sorted_by_their_mean_on_each_variant() -> None:
    table = table_of(grid())
    for variant in ("centered", "shifted"):
        rows = [row for row in table.split("<tr>") if f">{variant}<" in row]
        means = [float(re.findall(r"<strong>(.*?)</strong>", row)[0]) for row in rows]
        assert len(means) == 20
        assert means == sorted(means, reverse=True)


def test_a_table_of_many_rows_is_folded_with_the_best_and_the_default_visible() -> None:
    visible, _, folded = table_of(large_grid()).partition("<details>")
    assert len(rows_of(folded)) == 64
    assert rows_of(folded)[0] == rows_of(visible)[0]
    # Five of each variant, and what has dropout=0.5 and learning_rate=0.001.
    assert 10 <= len(rows_of(visible)) <= 12
    defaults = [row for row in rows_of(visible) if row.startswith("cnn default")]
    assert len(defaults) == 2
    assert all("0.5 0.001" in row for row in defaults)


def test_what_does_not_vary_stands_above_the_table() -> None:
    above = table_of(made_up_sweep(accuracies=ACCURACIES)).partition("<table")[0]
    assert "The same in all cells: epochs 2, batch_size 32" in above
    assert "cnn: filters [32, 64]" in above
    assert "shifted: shift 4, canvas 12." in above
    assert "learning_rate" not in table_of(grid()).partition("<table")[0]


def test_means_over_fewer_than_three_trials_are_marked() -> None:
    table = table_of(made_up_sweep({"trials": 2}, accuracies=ACCURACIES))
    assert all(" 2 † " in row for row in rows_of(table))
    assert "Fewer than 3 trials" in table
    assert "†" not in table_of(made_up_sweep(accuracies=ACCURACIES))


def test_the_table_names_what_a_grid_varies_and_nothing_else() -> None:
    headings = re.findall(r'<th scope="col"[^>]*>(\w+)</th>', page_of(grid()))
    assert {"dropout", "learning_rate"} <= set(headings)
    assert "optimizer" not in headings


WIDE_TABLE = "document.querySelector('#table .scroll')"


def test_a_table_fits_a_desktop_whatever_varies(browser: chromium.Page, tmp_path: Path) -> None:
    architectures = {
        "feed_forward": {"hidden_units": {"grid_search": [[512, 256, 128], [64]]}},
        "a_network_of_my_own": {"build": "cnn", "pool_stride": {"grid_search": [1, 2]}},
    }
    training = {"learning_rate": {"grid_search": [1e-3, 1e-4]}, "optimizer": "sgd"}
    made = made_up_sweep({"architectures": architectures, "training": training, "trials": 1})
    (tmp_path / "report.html").write_text(page_of(made), encoding="utf-8")
    browser.open(tmp_path / "report.html", width=1200)
    assert browser.evaluate(f"{WIDE_TABLE}.scrollWidth <= {WIDE_TABLE}.clientWidth")


def test_on_a_phone_the_first_column_stays_and_the_table_says_that_it_scrolls(
    browser: chromium.Page, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text(page_of(grid()), encoding="utf-8")
    browser.open(tmp_path / "report.html", width=390)
    shown = "[...document.querySelectorAll('#table thead th')].filter(h => h.offsetWidth)"
    headings = browser.evaluate(f"{shown}.map(h => h.textContent).join()").split(",")
    assert headings[:3] == ["architecture", "test accuracy", "95 % interval"]
    hint = f"getComputedStyle({WIDE_TABLE}, '::after')"
    assert browser.evaluate(f"{hint}.display") == "block"
    assert "scroll sideways" in browser.evaluate(f"{hint}.content")
    place = "document.querySelector('#table tbody th').getBoundingClientRect().left"
    before = browser.evaluate(place)
    browser.evaluate(f"{WIDE_TABLE}.scrollTo(150, 0)")
    assert browser.evaluate(f"{WIDE_TABLE}.scrollLeft") == 150
    assert browser.evaluate(place) == before
    browser.open(tmp_path / "report.html", width=1200)
    assert browser.evaluate(f"{hint}.display") == "none"


def test_on_a_phone_the_first_column_of_every_table_has_whole_words(
    browser: chromium.Page, tmp_path: Path
) -> None:
    long = {"a_network_of_my_own_with_a_very_long_name": {"build": "cnn"}, "feed_forward": {}}
    page = page_of(made_up_sweep({"architectures": long}, accuracies=0.9))
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    browser.open(tmp_path / "report.html", width=390)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    cells = "[...document.querySelectorAll('tr > th:first-child')].filter(h => h.offsetWidth)"
    assert browser.evaluate(f"Math.min(...{cells}.map(h => h.offsetWidth))") > 60
    assert browser.evaluate(f"Math.max(...{cells}.map(h => h.offsetWidth))") < 0.5 * 390


def test_what_is_fixed_leaves_out_what_a_schedule_replaces() -> None:
    schedule = {"schedule": "CosineDecay", "initial_learning_rate": 0.003, "decay_steps": 100}
    table = table_of(made_up_sweep({"training": {"learning_rate": schedule}}))
    assert "initial_learning_rate 0.003" in table
    assert "null" not in table
