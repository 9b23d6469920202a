from dataclasses import replace

from made_up import as_failed, made_up_sweep
from made_up_spread import adding_up, made_up_spread

from mnist_ray.view.report import render

SWEEP = made_up_spread(adding_up(), {"trials": 5, "spread": {"trials": 5}})


def test_each_cell_has_a_figure_of_its_sources_with_the_test_set_beside_them() -> None:
    page = render([SWEEP.results()], SWEEP.tables())
    assert "Where the spread comes from" in page
    for name in ("cnn · shifted, n = 5", "feed_forward · centered, n = 5"):
        figure = page.split(f'aria-label="{name}: standard deviation')[1].partition("</svg>")[0]
        for what in ("all together", "the initial weights", "the test set (standard error"):
            assert what in figure
        assert ("dropout" in figure) is name.startswith("cnn")


def test_sources_that_cells_lack_are_named() -> None:
    page = render([SWEEP.results()], SWEEP.tables())
    assert "No trials vary placement alone for feed_forward (centered), cnn (centered)" in page


def test_failed_trials_say_what_they_varied() -> None:
    key = next(k for k, record in SWEEP.records.items() if record.source == "sample")
    failing = replace(SWEEP, records={**SWEEP.records, key: as_failed(SWEEP.records[key])})
    assert "sample alone, trial" in render([failing.results()], failing.tables())


def test_a_space_without_sources_has_no_such_section() -> None:
    sweep = made_up_sweep()
    page = render([sweep.results()], sweep.tables())
    assert "Where the spread comes from" not in page
    assert "the search space does not ask for its sources" in page
