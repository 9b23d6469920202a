"""Tests of the tables that `mnist_ray.view.terminal` shows."""

import io

import pytest
from made_up import ACCURACIES, MadeUp, Scores, made_up_search, made_up_sweep
from rich.console import Console

from mnist_ray.analysis.findings import findings
from mnist_ray.view.terminal import Terminal, means

SCORES: Scores = {0: [0.8] * 3, 1: [0.9] * 5, 2: [0.7] * 3, "default": [0.85] * 5}


def lines_of(sweep: MadeUp) -> list[str]:
    """The table of means, row by row without its frame."""
    cells = sweep.tables().report.to_pylist()
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as shown:
        console.print(means(cells))
    rows = [line.split("│") for line in shown.get().splitlines() if "│" in line]
    return [" ".join(part.strip() for part in row).strip() for row in rows]


def test_variants_stand_side_by_side() -> None:
    exact = {pair: [0.9, 0.92, 0.94] for pair in ACCURACIES}
    assert lines_of(made_up_sweep(accuracies=exact)) == [
        "feed_forward 0.9200 ± 0.0200 (3) 0.9200 ± 0.0200 (3)",
        "cnn 0.9200 ± 0.0200 (3) 0.9200 ± 0.0200 (3)",
    ]


def test_winner_and_default_of_a_search_are_told_apart() -> None:
    assert lines_of(made_up_search(SCORES)) == [
        "feed_forward winner 0.8500, no spread seen in n = 2",
        "feed_forward default 0.8000, no spread seen in n = 2",
    ]


def test_a_search_without_a_winner_yet_has_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    sweep = made_up_search(SCORES, at_most=3)
    tables = sweep.tables()
    Terminal(quiet=False).result(tables, findings(tables))
    out = capsys.readouterr().out
    assert "has no winner yet" in out
    assert "mean ± standard deviation" not in out
