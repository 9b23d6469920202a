"""The notebook runs from top to bottom."""

from collections.abc import Iterator

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from running import PROJECT, opened

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
