"""The notebook runs from top to bottom, and what a sweep shows in one."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from made_up import folder_at, made_up_sweep
from nbclient import NotebookClient
from nbformat import NotebookNode
from rich.console import Console
from running import PROJECT, opened

from mnist_ray.progress_bar import NotebookBar, bar_for
from mnist_ray.report import load_report, rebuild
from mnist_ray.sweep import SweepResult

NOTEBOOK = PROJECT / "notebooks/review.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookNode]:
    """The notebook after a run in a fresh kernel, in a folder of its own."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with opened(folder) as place:
        environment = {**place.environment(), "TMPDIR": str(folder)}
        client = NotebookClient(
            notebook, timeout=300, resources={"metadata": {"path": str(folder)}}
        )
        yield client.execute(env=environment)


def shown(cell: NotebookNode) -> list[str]:
    """What a cell shows as HTML."""
    data = [output["data"] for output in cell.outputs if "data" in output]
    return ["".join(each["text/html"]) for each in data if "text/html" in each]


def test_the_notebook_is_kept_without_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_notebook_runs_and_every_cell_shows_something(executed: NotebookNode) -> None:
    imports, *others = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert imports.outputs == []
    for cell in others:
        assert cell.outputs, cell.source
        # Neither errors nor what Python and Ray print beside the point.
        assert {out.output_type for out in cell.outputs} <= {"display_data", "execute_result"}


def test_a_sweep_in_a_notebook_shows_its_progress_and_then_its_table(
    executed: NotebookNode,
) -> None:
    (cell,) = [cell for cell in executed.cells if "run_sweep(" in cell.source]
    (bar,) = [text for text in shown(cell) if text.startswith("<progress")]
    assert 'value="1.0000"' in bar
    assert "12/12 trials" in bar
    assert cell.outputs[-1].output_type == "execute_result"
    assert "<th>mean_test_accuracy</th>" in shown(cell)[-1]


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
    bar.start("0/4 trials")
    now = 3600.0
    bar.step(10, total=40, text="1/4 trials")
    assert 'value="0.2500"' in bar._repr_html_()
    assert str(bar) == "1/4 trials, 1:00:00 elapsed, 3:00:00 left"
    bar.step(30, total=40, text="4/4 trials, 1 failed")
    assert str(bar) == "4/4 trials, 1 failed, 1:00:00 elapsed"


def test_a_file_or_a_pipe_gets_no_bar() -> None:
    assert bar_for(Console(file=io.StringIO())) is None
