"""Pages of made-up sweeps, and their parts."""

import re
from typing import Any

from made_up import ACCURACIES, MadeUp, made_up_sweep

from mnist_ray.analysis.reading import read_results, results_of_space
from mnist_ray.analysis.tables import Tables
from mnist_ray.analysis.tabulation import tabulate
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.view.report import render, write_report


def page_of(sweep: MadeUp) -> str:
    results = results_of_space(sweep.space, sweep.dataset_info, sweep.records, sweep.test_set)
    return render([results], tabulate([results]))


def rebuild(folder: ResultsFolder, **given: Any) -> Tables:
    """Make the report in `folder` again; what is `given` of the sweep is not read from it."""
    return write_report([read_results(folder, **given)], folder)


def section(page: str, name: str) -> str:
    start = page.index(f'<section id="{name}">')
    return page[start : page.index("</section>", start)]


def rows_of(table: str) -> list[str]:
    """The rows of a table as text, their cells apart."""
    rows = re.findall(r"<tr>\n(<th scope=\"row\">.*?)</tr>", table, re.DOTALL)
    return [re.sub(r"(<[^>]*>|\s)+", " ", row).strip() for row in rows]


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
