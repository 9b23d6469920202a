"""Tests of the tables that `mnist_ray.view.terminal` shows."""

import io
from dataclasses import replace

import pytest
from made_up import ACCURACIES, MadeUp, Scores, as_failed, made_up_search, made_up_sweep
from rich.console import Console

from mnist_ray.ledger.record import Record, RunEnvironment
from mnist_ray.plan.forecast import forecast
from mnist_ray.plan.planner import Planner, plan
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.view.sweep_progress import SweepProgress
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


def test_winner_and_default_of_a_search_are_distinguished() -> None:
    assert lines_of(made_up_search(SCORES)) == [
        "feed_forward winner 0.8500, no spread seen in n = 2",
        "feed_forward default 0.8000, no spread seen in n = 2",
    ]


def test_equal_errors_are_reported_once_with_their_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep = made_up_sweep()
    records = list(sweep.records.values())[:4]
    failed = [as_failed(record, "ValueError: bad luck") for record in records[:3]]
    failed.append(as_failed(records[3], "TypeError: worse luck"))
    Terminal(sweep.space, quiet=True).failures(failed, folder="results/made-up")
    first, other, traceback = capsys.readouterr().out.splitlines()
    assert first.endswith("failed: ValueError: bad luck (2 more trials with this error)")
    assert other.endswith("failed: TypeError: worse luck")
    assert failed[0].key[:8] in traceback


def test_a_search_without_a_winner_yet_has_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    sweep = made_up_search(SCORES, at_most=3)
    tables = sweep.tables()
    Terminal(sweep.space, quiet=False).result(tables, sweep.findings())
    out = capsys.readouterr().out
    assert "has no winner yet" in out
    assert "mean ± standard deviation" not in out


@pytest.mark.parametrize(
    ("sweep", "part"),
    [
        pytest.param(made_up_sweep(), "): 12 trials wanted", id="as_many_as_the_space_says"),
        pytest.param(
            made_up_search(SCORES, at_most=3), "): at least 9 trials wanted", id="open_search"
        ),
    ],
)
def test_trials_wanted_are_a_lower_bound_where_more_may_follow(
    sweep: MadeUp, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = plan(sweep.space, sweep.dataset_info, sweep.records)
    Terminal(sweep.space, quiet=False).announce(dataset="digits", images=100, plan=planned)
    assert part in capsys.readouterr().out


def test_one_is_counted_in_the_singular(capsys: pytest.CaptureFixture[str]) -> None:
    one = {"architectures": {"cnn": {}}, "variants": {"centered": {}}, "trials": 1}
    sweep = made_up_sweep(one)
    planned = plan(sweep.space, sweep.dataset_info, {})
    terminal = Terminal(sweep.space, quiet=False)
    terminal.announce(dataset="digits", images=1, plan=planned)
    terminal.left_out(1)
    out = capsys.readouterr().out
    assert "1 cell on digits (1 training image): 1 trial wanted" in out
    assert "1 record is of a trial" in out
    assert shown_lines(sweep)[0].startswith("[1/1] cnn centered trial 0: test accuracy")


# Progress


GRID = {
    "architectures": {"cnn": {"pool_stride": {"grid_search": [1, 2]}}, "feed_forward": {}},
    "variants": {"centered": {}},
    "training": {"learning_rate": {"grid_search": [0.001, 0.00123456]}},
    "trials": 2,
}


def walked(sweep: MadeUp, console: Console, **options: bool) -> None:
    """The records of a sweep come in, one after the other."""
    queue = TrialQueue(Planner(sweep.space, sweep.dataset_info).plan, {})
    with SweepProgress(console, sweep.space, queue, weights={}, **options) as progress:
        while waiting := [t.key for t in queue.plan.missing if t.key not in queue.records]:
            queue.complete(sweep.records[waiting[0]])
            left = sum(trial.key not in queue.records for trial in queue.plan.missing)
            progress.recorded(sweep.records[waiting[0]], left=left)


def shown_lines(sweep: MadeUp, **options: bool) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as shown:
        walked(sweep, console, **options)
    return shown.get().splitlines()


def shown_on_a_terminal(sweep: MadeUp, *, width: int, **options: bool) -> str:
    file = io.StringIO()
    walked(sweep, Console(file=file, width=width, force_terminal=True), **options)
    return file.getvalue()


def test_a_line_names_the_configuration_in_a_grid() -> None:
    lines = shown_lines(made_up_sweep(GRID))
    assert len(lines) == 12
    names = {line.partition("] ")[2].partition(" trial ")[0] for line in lines}
    assert names == {
        "cnn centered pool_stride=1 learning_rate=0.001",
        "cnn centered pool_stride=1 learning_rate=0.001235",
        "cnn centered pool_stride=2 learning_rate=0.001",
        "cnn centered pool_stride=2 learning_rate=0.001235",
        "feed_forward centered learning_rate=0.001",
        "feed_forward centered learning_rate=0.001235",
    }


def test_counts_in_a_search_are_lower_bounds_that_grow_with_a_reason() -> None:
    lines = shown_lines(made_up_search(SCORES))
    counts = [line.partition("]")[0] for line in lines if line.startswith("[")]
    assert counts[0].startswith("[1/at least ")
    assert counts[-1] == f"[{len(counts)}/{len(counts)}"
    reasons = [line for line in lines if "to run: " in line]
    assert "the search of feed_forward on centered has a winner" in reasons[-1]
    assert reasons[-1].startswith("4 more trials to run")
    assert "to run: " not in "".join(shown_lines(made_up_search(SCORES), quiet=True))


def test_a_line_has_the_running_mean_of_its_cell_where_it_is_asked_for() -> None:
    exact = {pair: [0.9, 0.92, 0.94] for pair in ACCURACIES}
    sweep = made_up_sweep(accuracies=exact)
    lines = [line for line in shown_lines(sweep, verbose=True) if "cnn shifted" in line]
    assert [line.rpartition("; ")[2] for line in lines] == [
        "mean 0.9000 (n = 1)",
        "mean 0.9100 (n = 2)",
        "mean 0.9200 (n = 3)",
    ]
    assert not any("mean" in line for line in shown_lines(sweep))


def test_the_means_of_the_cells_stand_below_the_bar_where_there_is_room() -> None:
    sweep = made_up_sweep(accuracies={pair: [0.9, 0.92, 0.94] for pair in ACCURACIES})
    assert "mean 0.9200 (n = 3): cnn shifted" in shown_on_a_terminal(sweep, width=140)
    assert "mean 0.9200 (n = 3): cnn shifted" in shown_on_a_terminal(sweep, width=80, verbose=True)
    narrow = shown_on_a_terminal(sweep, width=80)
    assert "12/12 trials" in narrow
    assert "mean" not in narrow


def test_a_dry_run_never_says_that_a_trial_takes_no_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep = made_up_sweep(GRID)
    planned = plan(sweep.space, sweep.dataset_info, {})
    expected = forecast(
        planned,
        space=sweep.space,
        dataset_info=sweep.dataset_info,
        records={},
        concurrency=1,
        hourly_cost=None,
        calibrate=lambda cells: dict.fromkeys(cells, 0.001),
    )
    Terminal(sweep.space, quiet=False).forecast(expected)
    out = capsys.readouterr().out
    assert "< 0.1" in out
    assert " 0.0 " not in out
    assert "1 trial at a time" in out
    assert "pool_stride=2" in out


def test_what_is_trained_without_xla_is_said_once_for_each_cell() -> None:
    sweep = made_up_sweep()
    records = [*sweep.records.values()]
    refused = [replace(record, setting=refused_by_xla(record)) for record in records]
    console = Console(file=io.StringIO(), width=120)
    queue = TrialQueue(Planner(sweep.space, sweep.dataset_info).plan, {})
    progress = SweepProgress(console, sweep.space, queue, weights={}, quiet=True)
    with console.capture() as shown, progress as to:
        for record in [*records, *refused, *refused]:
            to.recorded(record, left=0)
    lines = [line for line in shown.get().splitlines() if "No registered 'PyFunc'" in line]
    assert len(lines) == len({record.cell_key for record in records}) > 1


def refused_by_xla(record: Record) -> RunEnvironment:
    assert record.setting
    return replace(record.setting, xla_error="No registered 'PyFunc'")
