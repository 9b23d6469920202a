"""Tests of `mnist-ray report --export` and `--format`: what goes into a paper."""

from pathlib import Path

import pytest
from made_up import folder_at, made_up_sweep

from mnist_ray.report import main
from mnist_ray.view.export import as_latex, as_markdown

ACCURACIES = {
    # t(2 degrees of freedom) * 0.01 / sqrt(3) = 0.0248.
    ("feed_forward", "centered"): [0.94, 0.95, 0.96],
    ("cnn", "centered"): [0.97, 0.97, 0.97],
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    sweep = made_up_sweep({"variants": {"centered": {}}}, accuracies=ACCURACIES)
    sweep.write(folder_at(tmp_path / "results" / "made-up"))
    return tmp_path / "results" / "made-up"


def test_the_table_is_printed_as_markdown_and_nothing_else(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(results.parent), "--format", "markdown"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| architecture | variant | test accuracy | n |",
        "| --- | --- | ---: | ---: |",
        "| feed\\_forward | centered | 0.9500 ± 0.0248 | 3 |",
        "| cnn | centered | 0.9700 | 3 |",
    ]
    assert not (results / "report.html").exists()


def test_the_table_is_printed_as_latex_for_booktabs(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(results), "--format", "latex"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index(r"\begin{tabular}{@{}llrr@{}}")
    assert lines[start + 1 :] == [
        r"\toprule",
        r"architecture & variant & test accuracy & n \\",
        r"\midrule",
        r"feed\_forward & centered & 0.9500 $\pm$ 0.0248 & 3 \\",
        r"cnn & centered & 0.9700 & 3 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_an_export_has_the_table_and_each_figure_as_pdf_and_svg(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "paper" / "figures"
    assert main([str(results), "--export", str(folder)]) == 0
    assert str(folder) in capsys.readouterr().out
    files = {path.name for path in folder.iterdir()}
    assert {"table.md", "table.tex", "trials-0-centered-digits.pdf"} <= files
    figures = {Path(name).stem for name in files if not name.startswith("table.")}
    assert {f"{name}.{kind}" for name in figures for kind in ("pdf", "svg")} < files
    assert (results / "report.html").read_text().count("<svg") == len(figures)
    assert (folder / "trials-0-centered-digits.pdf").read_bytes().startswith(b"%PDF")
    assert b"var(--" not in (folder / "trials-0-centered-digits.svg").read_bytes()


@pytest.mark.parametrize("place", ["a file", "below a file"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "taken").write_text("")
    given = tmp_path / "taken" if place == "a file" else tmp_path / "taken" / "figures"
    assert main([str(results), "--export", str(given)]) == 2
    error = capsys.readouterr().err
    assert f"--export {given}" in error
    assert "--results" not in error
    assert not (results / "report.html").exists()


def test_another_format_is_refused_with_those_there_are(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(results), "--format", "word"])
    assert ended.value.code == 2
    assert "markdown" in capsys.readouterr().err


def test_names_stay_text_in_a_table_whatever_is_in_them() -> None:
    hostile = r"50% of $x_1$ & \input{a} | <b>*#1*</b>" + "\nnext"
    table = [["cell", "test accuracy", "n"], [hostile, "0.9", "3"]]
    latex = as_latex(table).splitlines()[6]
    assert latex == (
        r"50\% of \$x\_1\$ \& \textbackslash{}input\{a\} \textbar{} "
        r"\textless{}b\textgreater{}*\#1*\textless{}/b\textgreater{} next & 0.9 & 3 \\"
    )
    markdown = as_markdown(table).splitlines()[2]
    assert markdown == (r"| 50% of \$x\_1\$ & \\input\{a\} \| \<b\>\*\#1\*\</b\> next | 0.9 | 3 |")
