"""Tests of the tables that `mnist_ray.view.terminal` shows."""

import io
from dataclasses import replace

import pytest
from made_up import ACCURACIES, MadeUp, Scores, as_failed, made_up_search, made_up_sweep
from rich.console import Console

from mnist_ray.analysis.findings import findings
from mnist_ray.ledger.record import Record, RunEnvironment
from mnist_ray.plan.planner import plan
from mnist_ray.view.terminal import SweepProgress, Terminal, means

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


def test_equal_errors_are_told_once_with_their_number(capsys: pytest.CaptureFixture[str]) -> None:
    records = list(made_up_sweep().records.values())[:4]
    failed = [as_failed(record, "ValueError: bad luck") for record in records[:3]]
    failed.append(as_failed(records[3], "TypeError: worse luck"))
    Terminal(quiet=True).failures(failed, folder="results/made-up")
    first, other, traceback = capsys.readouterr().out.splitlines()
    assert first.endswith("failed: ValueError: bad luck (2 more trials with this error)")
    assert other.endswith("failed: TypeError: worse luck")
    assert failed[0].key[:8] in traceback


def test_a_search_without_a_winner_yet_has_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    sweep = made_up_search(SCORES, at_most=3)
    tables = sweep.tables()
    Terminal(quiet=False).result(tables, findings(tables))
    out = capsys.readouterr().out
    assert "has no winner yet" in out
    assert "mean ± standard deviation" not in out


@pytest.mark.parametrize(
    ("sweep", "told"),
    [
        pytest.param(made_up_sweep(), "): 12 trials wanted", id="as_many_as_the_space_says"),
        pytest.param(
            made_up_search(SCORES, at_most=3), "): at least 9 trials wanted", id="open_search"
        ),
    ],
)
def test_trials_wanted_are_a_lower_bound_where_more_may_follow(
    sweep: MadeUp, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = plan(sweep.space, sweep.dataset_info, sweep.records)
    Terminal(quiet=False).announce(sweep.space, dataset="digits", images=100, plan=planned)
    assert told in capsys.readouterr().out


def test_what_is_trained_without_xla_is_said_once_for_each_cell() -> None:
    records = [*made_up_sweep().records.values()]
    refused = [replace(record, setting=refused_by_xla(record)) for record in records]
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as shown, SweepProgress(console, trials=9, weights={}, quiet=True) as to:
        for record in [*records, *refused, *refused]:
            to.recorded(record, left=0)
    lines = [line for line in shown.get().splitlines() if "No registered 'PyFunc'" in line]
    assert len(lines) == len({record.cell_key for record in records}) > 1


def refused_by_xla(record: Record) -> RunEnvironment:
    assert record.setting
    return replace(record.setting, xla_error="No registered 'PyFunc'")
