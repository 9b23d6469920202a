"""The page passes axe-core, the accessibility checker, in headless Chromium.

axe-core is fetched from the npm registry into a temporary folder, or taken from the file that
`MNIST_RAY_AXE` names. The page's content security policy allows no script; one that DevTools
evaluates is not the page's.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import chromium
import pytest
from made_up import ACCURACIES, MadeUp, Scores, as_failed, made_up_search, made_up_sweep
from pages import grid, page_of

from mnist_ray.analysis.reading import results_of_space
from mnist_ray.analysis.tabulation import tabulate
from mnist_ray.view.report import render

SCORES: Scores = {
    0: [0.80, 0.82, 0.84],
    1: [0.90, 0.92, 0.94, 0.89, 0.91],
    2: [0.95, None],
    "default": [0, 0, 0, 0.90, 0.92],
}


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    given = os.environ.get("MNIST_RAY_AXE")
    if given:
        return Path(given).read_text(encoding="utf-8")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm to fetch axe-core with")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "axe-core"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if ended.returncode:
        pytest.skip(f"axe-core cannot be had: {ended.stderr.strip()}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def with_failures() -> MadeUp:
    sweep = made_up_sweep(accuracies=ACCURACIES)
    for key in list(sweep.records)[:5]:
        sweep.records[key] = as_failed(sweep.records[key])
    return sweep


def interrupted() -> MadeUp:
    sweep = made_up_sweep(
        {
            "variants": {"centered": {"canvas": 12}, "shifted": {"shift": 4}},
            "evaluate": {"shifts": [0, 4]},
        },
        accuracies=ACCURACIES,
    )
    for key in list(sweep.records)[7:]:
        del sweep.records[key]
    return sweep


def large_grid() -> MadeUp:
    rates = [10.0**-power for power in range(1, 9)]
    return made_up_sweep(
        {
            "architectures": {"cnn": {"dropout": {"grid_search": [0.0, 0.2, 0.4, 0.5]}}},
            "training": {"learning_rate": {"grid_search": rates}, "epochs": 1},
            "trials": 2,
        },
        accuracies=ACCURACIES,
    )


def several() -> str:
    made = made_up_sweep(accuracies=ACCURACIES)
    sweeps = [
        results_of_space(made.space, made.dataset_info, made.records, made.test_set, name=name)
        for name in ("monday", "tuesday")
    ]
    return render(sweeps, tabulate(sweeps))


PAGES: Mapping[str, Callable[[], str]] = {
    "four plain cells": lambda: page_of(made_up_sweep(accuracies=ACCURACIES)),
    "a grid": lambda: page_of(grid()),
    "a grid that is folded": lambda: page_of(large_grid()),
    "a search": lambda: page_of(made_up_search(SCORES)),
    "an unfinished search": lambda: page_of(made_up_search(SCORES, at_most=4)),
    "failures": lambda: page_of(with_failures()),
    "an interrupted sweep": lambda: page_of(interrupted()),
    "several sweeps": several,
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_accessibility_violations(
    browser: chromium.Page, axe: str, tmp_path: Path, name: str
) -> None:
    (tmp_path / "report.html").write_text(PAGES[name](), encoding="utf-8")
    for width, dark in ((1200, False), (1200, True), (390, False)):
        browser.open(tmp_path / "report.html", width=width, dark=dark)
        # What is folded is checked too.
        browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        browser.evaluate(axe)
        found = browser.send(
            "Runtime.evaluate",
            expression="axe.run().then(found => JSON.stringify(found.violations.map(v =>"
            " [v.id, v.help, v.nodes.length, v.nodes[0].html.slice(0, 200),"
            " v.nodes[0].failureSummary])))",
            awaitPromise=True,
            returnByValue=True,
        )
        assert json.loads(found["result"]["value"]) == [], f"at {width} px, dark: {dark}"
