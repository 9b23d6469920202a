"""Tests of `mnist_ray.report`: from a folder to tables, frames and page, and the command."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
from made_up import (
    ACCURACIES,
    MadeUp,
    Scores,
    as_failed,
    folder_at,
    made_up_search,
    made_up_sweep,
)
from pages import rebuild

import mnist_ray
from mnist_ray import (
    load_comparisons,
    load_epochs,
    load_report,
    load_robustness,
    load_search,
    load_trials,
)
from mnist_ray.errors import InputError
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.report import main

FILES = {
    *("report.parquet", "trials.parquet", "epochs.parquet", "comparisons.parquet"),
    *("robustness.parquet", "search.parquet", "report.html"),
}

LeftBehind = Callable[..., tuple[MadeUp, Path]]


@pytest.fixture
def left_behind(tmp_path: Path) -> LeftBehind:
    """Makes a sweep's folder, as it is before its report is made."""

    def make(
        changes: Mapping[str, object] | None = None, at: str = "results/made-up"
    ) -> tuple[MadeUp, Path]:
        sweep = made_up_sweep(changes, accuracies=ACCURACIES)
        sweep.write(folder_at(tmp_path / at))
        return sweep, tmp_path / at

    return make


def test_a_report_is_made_from_the_folder_alone(left_behind: LeftBehind) -> None:
    sweep, path = left_behind()
    tables = rebuild(folder_at(path))
    expected = sweep.tables()
    for name, table in expected.by_name().items():
        assert tables.by_name()[name].equals(table)
    assert {file.name for file in path.iterdir() if file.is_file()} >= FILES


def test_what_is_given_is_not_read(left_behind: LeftBehind) -> None:
    sweep, path = left_behind()
    tables = rebuild(
        folder_at(path),
        space=sweep.space.override(trials=2),
        dataset_info=sweep.dataset_info,
        records={},
    )
    assert tables.report["trials"].to_pylist() == [0] * 4


@pytest.mark.parametrize("lost", ["space.yaml", "ledger/latest.json"])
def test_a_lost_description_changes_no_figure(left_behind: LeftBehind, lost: str) -> None:
    _, path = left_behind()
    columns = ["architecture", "variant", "hidden_units", "trials", "mean_test_accuracy"]
    rebuild(folder_at(path))
    before = load_report(path)[columns].astype(str)
    (path / lost).unlink()
    rebuild(folder_at(path))
    after = load_report(path)[columns].astype(str)
    key = ["architecture", "variant"]
    pd.testing.assert_frame_equal(
        before.sort_values(key, ignore_index=True), after.sort_values(key, ignore_index=True)
    )


def test_records_without_anything_else_still_make_a_report(left_behind: LeftBehind) -> None:
    _, path = left_behind()
    (path / "space.yaml").unlink()
    for file in (path / "ledger").iterdir():
        if file.suffix in (".json", ".npz"):
            file.unlink()
    rebuild(folder_at(path))
    report = load_report(path)
    assert report["trials"].tolist() == [3] * 4
    assert report["test_set_sem"].isna().all()


def test_the_same_records_make_the_same_files_byte_for_byte(left_behind: LeftBehind) -> None:
    _, path = left_behind()
    rebuild(folder_at(path))
    first = {name: (path / name).read_bytes() for name in FILES}
    rebuild(folder_at(path))
    assert {name: (path / name).read_bytes() for name in FILES} == first


def test_a_report_changes_nothing_in_a_ledger_with_damaged_files(
    left_behind: LeftBehind, caplog: pytest.LogCaptureFixture
) -> None:
    sweep, path = left_behind()
    ledger = path / "ledger"
    lost, *kept = sweep.records.values()
    for file in ledger.glob("*.parquet"):
        file.unlink()
    Ledger(folder_at(path)).write(kept)
    (ledger / f"{lost.key}.parquet").write_bytes(b"PAR1, and then nothing")
    next(ledger.glob("test-*.npz")).write_bytes(b"PK, and then nothing")
    before = {file.name: file.read_bytes() for file in ledger.iterdir()}
    assert main([str(path)]) == 0
    assert f"{lost.key}.parquet is damaged" in caplog.text
    assert ".npz is damaged" in caplog.text
    assert {file.name: file.read_bytes() for file in ledger.iterdir()} == before
    assert int(load_report(path)["trials"].sum()) == len(sweep.records) - 1


def test_a_report_needs_neither_ray_nor_tensorflow(left_behind: LeftBehind) -> None:
    _, path = left_behind()
    code = (
        "import sys; from mnist_ray.report import main; "
        f"assert main([{str(path)!r}]) == 0; "
        "assert not {'ray', 'tensorflow', 'keras'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_importing_the_report_imports_nothing_heavy() -> None:
    code = (
        "import sys, mnist_ray.report; "
        "assert not {'pandas', 'scipy', 'matplotlib'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# Frames


def test_frames_have_tidy_types(left_behind: LeftBehind) -> None:
    _, path = left_behind({"evaluate": {"shifts": [0]}, "variants": {"centered": {}}})
    rebuild(folder_at(path))
    report, trials = load_report(path), load_trials(path)
    assert report["architecture"].dtype == "category"
    assert report["architecture"].cat.categories.tolist() == ["feed_forward", "cnn"]
    assert str(report["trials"].dtype) == str(report["kernel_size"].dtype) == "Int64"
    assert report["mean_test_accuracy"].dtype == "float64"
    assert str(trials["started_at"].dt.tz) == "UTC"
    assert trials["status"].dtype == "category"
    assert load_epochs(path)["epoch"].min() == 1
    assert load_robustness(path)["test_shift"].tolist() == [0, 0]
    assert "p_value_holm" in load_comparisons(path)


def test_a_search_is_read_as_a_tidy_frame(tmp_path: Path) -> None:
    scores: Scores = {0: [0.8] * 3, 1: [0.9] * 5, 2: [0.7] * 3, "default": [0.8] * 5}
    made_up_search(scores).write(folder_at(tmp_path))
    rebuild(folder_at(tmp_path))
    search = mnist_ray.load_search(tmp_path)
    pd.testing.assert_frame_equal(search, load_search(tmp_path))
    assert search.loc[search["is_winner"], "configuration"].tolist() == [1]
    assert search["configuration"].tolist() == [0, 1, 2, pd.NA]
    assert str(search["is_default"].dtype) == "boolean"


def test_lists_are_tuples_so_that_they_can_be_grouped_by(left_behind: LeftBehind) -> None:
    _, path = left_behind()
    rebuild(folder_at(path))
    means = load_report(path).groupby("hidden_units")["mean_test_accuracy"].mean()
    assert means.index.tolist() == [(512, 256)]


def test_a_folder_can_be_given_as_text_path_uri_or_parent(left_behind: LeftBehind) -> None:
    _, path = left_behind()
    rebuild(folder_at(path))
    for location in (path, str(path), path.as_uri(), path.parent):
        assert len(load_report(location)) == 4


def test_a_report_that_was_never_made_is_reported_with_the_remedy(left_behind: LeftBehind) -> None:
    _, path = left_behind()
    with pytest.raises(InputError, match="mnist-ray report"):
        load_report(path)


# The command


def test_the_command_prints_findings_and_where_the_page_is(
    left_behind: LeftBehind, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = left_behind()
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "cnn: mean test accuracy dropped from" in out
    assert f"{path}/report.html" in out


def test_the_parent_of_one_sweep_will_do_and_the_choice_is_reported(
    left_behind: LeftBehind, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = left_behind()
    assert main([str(path.parent)]) == 0
    assert f"{path}" in capsys.readouterr().out.splitlines()[0]


def test_the_parent_of_several_sweeps_is_refused_with_their_names(
    left_behind: LeftBehind, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = left_behind()
    _, second = left_behind(at="results/another")
    assert main([str(first.parent)]) == 2
    error = capsys.readouterr().err
    assert str(first) in error
    assert str(second) in error


def test_a_folder_without_a_sweep_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "nowhere") in error
    assert "Traceback" not in error


def test_a_space_that_cannot_be_read_is_refused(
    left_behind: LeftBehind, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = left_behind()
    (path / "space.yaml").write_text("name: [")
    assert main([str(path)]) == 2
    assert "space.yaml" in capsys.readouterr().err


def test_records_that_are_no_longer_asked_for_are_reported_in_one_line(
    left_behind: LeftBehind, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, path = left_behind()
    (path / "space.yaml").write_text(sweep.space.override(trials=2).to_yaml())
    assert main([str(path)]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "4 records" in line]


def test_the_traceback_of_a_failed_trial_is_shown_by_a_unique_prefix_of_its_key(
    left_behind: LeftBehind, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, _ = left_behind()
    key = next(iter(sweep.records))
    failed = made_up_sweep(accuracies=ACCURACIES)
    failed.records[key] = as_failed(failed.records[key])
    _, path = left_behind(at="elsewhere/made-up")
    for file in (path / "ledger").glob("*.parquet"):
        file.unlink()
    failed.write(folder_at(path))
    assert main([str(path), "--traceback", key[:8]]) == 0
    assert capsys.readouterr().out.startswith("Traceback (most recent call last):")
    assert main([str(path), "--traceback", "zzz"]) == 2
    assert key in capsys.readouterr().err


def test_failed_trials_of_a_search_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up_search({0: [None], 1: [None], 2: [None]}).write(folder_at(tmp_path))
    assert main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "has no winner" in out
    assert out.count("Failed (3 trials): ValueError: no such luck") == 1


def test_a_failed_trial_of_cells_of_equal_settings_is_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    architectures = {"first": {"build": "cnn"}, "second": {"build": "cnn"}}
    sweep = made_up_sweep({"architectures": architectures, "variants": {"centered": {}}})
    key = next(iter(sweep.records))
    sweep.records[key] = as_failed(sweep.records[key])
    sweep.write(folder_at(tmp_path))
    assert main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count("Failed: ValueError: no such luck") == 1
    assert "1 trial failed" in out
    assert load_report(tmp_path)["failed"].tolist() == [1, 1]


def test_several_sweeps_are_put_side_by_side(left_behind: LeftBehind, tmp_path: Path) -> None:
    _, first = left_behind(at="monday/made-up")
    _, second = left_behind({"trials": 2}, at="tuesday/made-up")
    output = tmp_path / "both"
    assert main([str(first), str(second), "--output", str(output)]) == 0
    report = load_report(output)
    assert report.columns[0] == "sweep"
    assert report["sweep"].tolist() == ["monday/made-up"] * 4 + ["tuesday/made-up"] * 4
    assert report["trials"].tolist() == [3] * 4 + [2] * 4
    assert not (first / "report.html").exists()


def test_several_sweeps_without_an_output_are_refused(
    left_behind: LeftBehind, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = left_behind()
    _, second = left_behind(at="other/made-up")
    assert main([str(first), str(second)]) == 2
    assert "--output" in capsys.readouterr().err
