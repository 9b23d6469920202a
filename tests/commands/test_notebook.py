"""What a sweep shows in a notebook, and how the one for reviews is kept."""

import io
import re
from pathlib import Path

import nbformat
from made_up import folder_at, made_up_sweep
from pages import rebuild
from rich.console import Console
from running import PROJECT

from mnist_ray import SweepResult
from mnist_ray.analysis.loading import load_report
from mnist_ray.view.progress_bar import NotebookBar, bar_for

NOTEBOOK = PROJECT / "notebooks/review.ipynb"


def test_the_notebook_is_kept_without_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


# The table


def test_a_result_shows_names_what_varies_and_figures_up_to_the_interval(tmp_path: Path) -> None:
    architectures = {"cnn": {"dropout": {"grid_search": [0.2, 0.5]}}, "feed_forward": {}}
    folder = folder_at(tmp_path / "made-up")
    made_up_sweep({"architectures": architectures}).write(folder)
    rebuild(folder)
    table = SweepResult(folder.uri, load_report(folder.path), exit_code=0)._repr_html_()
    names = re.findall(r"<th>(\w+)</th>", table)
    means = ["trials", "failed", "mean_test_accuracy", "std_test_accuracy", "sem_test_accuracy"]
    interval = ["ci95_low", "ci95_high"]
    assert names == ["dataset", "architecture", "variant", "dropout", *means, *interval]


def test_a_dry_run_shows_nothing() -> None:
    assert SweepResult("results/made-up", None, exit_code=0)._repr_html_() == ""


# The bar


def test_the_bar_pulses_until_the_first_step() -> None:
    assert "value=" not in NotebookBar()._repr_html_()


def test_the_bar_shows_the_share_of_the_work_and_reckons_the_time_left() -> None:
    now = 0.0
    bar = NotebookBar(clock=lambda: now)
    bar.begin("0/4 trials")
    now = 3600.0
    bar.step(10, total=40, text="1/4 trials")
    assert 'value="0.2500"' in bar._repr_html_()
    assert str(bar) == "1/4 trials, 1 h 00 min elapsed, 3 h 00 min left"
    bar.step(30, total=40, text="4/4 trials, 1 failed")
    assert str(bar) == "4/4 trials, 1 failed, 1 h 00 min elapsed"


def test_a_file_or_a_pipe_gets_no_bar() -> None:
    assert bar_for(Console(file=io.StringIO())) is None
