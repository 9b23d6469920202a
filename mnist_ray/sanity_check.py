"""Let the saved models read random test digits: `python -m mnist_ray.sanity_check RESULTS`."""

import argparse
import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnist_ray._inputs import integer, report_error
from mnist_ray.errors import InputError
from mnist_ray.ledger.results_folder import ResultsFolder, StorageError

# What is heavy (Keras, pyarrow's Parquet, matplotlib) is imported where it is used, so that
# `--help` and a slip of the pen are quick.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

    from mnist_ray.analysis.sweep_results import CellResults
    from mnist_ray.ledger.ledger import TestSet
    from mnist_ray.space.space import Cell

_PICTURES_ACROSS = 8
_INCHES = 1.5
"""Side of a digit in the picture."""
_LINE_INCHES = 0.2


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a cell's saved model says of the drawn digits."""

    label: str
    """The cell's name, short but different from all others."""
    short_label: str
    """The same without the variant."""
    cell: "Cell"
    images: NDArray[np.uint8]
    """The digits as the model sees them, uint8 [n, canvas, canvas]."""
    wrong: NDArray[np.bool_]
    """Which of them it gets wrong, bool [n]."""
    predictions: NDArray[np.int64]
    """int64 [n]."""
    accuracy: float
    """The mean test accuracy of the cell's finished trials."""

    @property
    def mistakes(self) -> int:
        """How many digits it gets wrong."""
        return int(np.count_nonzero(self.wrong))

    @property
    def probability_of_none(self) -> float:
        """Of no mistake in so many digits, if mistakes were independent: accuracy to the n."""
        return float(self.accuracy ** len(self.predictions))


@dataclass(frozen=True, eq=False)
class SanityCheck:
    """Random test digits, and what the saved model of each cell says of them."""

    dataset: str
    indices: NDArray[np.int64]
    """In the test set, int64 [n]."""
    truth: NDArray[np.int64]
    """int64 [n]."""
    verdicts: Sequence[Verdict]
    without_model: Sequence[str]
    """Cells with finished trials whose model is not in the folder, by their labels."""


def check_models(folder: ResultsFolder, *, digits: int, seed: int) -> SanityCheck:
    """Draw `digits` test digits by `seed`, and ask the saved models of the sweep in `folder`.

    Every cell gets the same digits, each placed where all the sweep's trials were graded on it.
    Needs TensorFlow in this process.

    Raises:
        InputError: there are no models or test images, fewer digits than asked for, or a model
            can't be loaded.
        StorageError: something can't be read.
    """
    from mnist_ray.analysis.reading import read_results
    from mnist_ray.analysis.sweep_results import labels

    results = read_results(folder)
    if results.test_set is None:
        raise InputError(
            f"results: {folder.uri} holds no test images to draw from; give the command that made "
            "it again, which puts them there."
        )
    test_set = results.test_set
    indices = _draw(test_set, digits=digits, seed=seed, uri=folder.uri)
    cells_results = _one_a_cell(
        [cell_results for cell_results in results.cells_results if cell_results.finished]
    )
    names, short_names = labels(cells_results), labels(cells_results, variants=False)
    files = [_model_file(folder, cell_results) for cell_results in cells_results]
    if not any(files):
        raise InputError(
            f"results: {folder.uri} has no saved models of what its space asks for; "
            "python -m mnist_ray.sweep keeps one of each cell when a trial of it finishes."
        )
    return SanityCheck(
        dataset=test_set.dataset,
        indices=indices,
        truth=test_set.labels[indices].astype(np.int64),
        verdicts=[
            _verdict(
                cell_results,
                _load_model(folder, file, cell_results.cell),
                test_set=test_set,
                indices=indices,
                labels=(name, short),
            )
            for cell_results, file, name, short in zip(
                cells_results, files, names, short_names, strict=True
            )
            if file is not None
        ],
        without_model=[name for name, file in zip(names, files, strict=True) if file is None],
    )


def _draw(test_set: "TestSet", *, digits: int, seed: int, uri: str) -> NDArray[np.int64]:
    size = len(test_set.labels)
    if digits > size:
        raise InputError(
            f"--digits {digits}: {uri} has {size} test digits; ask for 1 to {size} of them."
        )
    return np.random.default_rng(seed).choice(size, size=digits, replace=False)


def _one_a_cell(cells_results: Sequence["CellResults"]) -> list["CellResults"]:
    """A cell that ran on several kinds of device has one model all the same."""
    found: dict[str, CellResults] = {}
    for cell_results in cells_results:
        found.setdefault(cell_results.cell.name, cell_results)
    return [*found.values()]


def _cell_key(cell_results: "CellResults") -> str:
    return cell_results.records[0].cell_key


def _model_file(folder: ResultsFolder, cell_results: "CellResults") -> str | None:
    """The cell's saved model, if there is one.

    Its name is that of the cell when the model was trained: the cell may have been renamed since,
    or share its trials with a cell of another name and equal settings.
    """
    names = [(record.architecture, record.variant) for record in cell_results.finished]
    files = (folder.model(f"{a}-{v}", _cell_key(cell_results)) for a, v in dict.fromkeys(names))
    return next((file for file in files if folder.exists(file)), None)


def _verdict(
    cell_results: "CellResults",
    model: Any,
    *,
    test_set: "TestSet",
    indices: NDArray[np.int64],
    labels: tuple[str, str],
) -> Verdict:
    images = _as_graded(cell_results, test_set)[indices]
    predictions = _predict(model, images)
    return Verdict(
        label=labels[0],
        short_label=labels[1],
        cell=cell_results.cell,
        images=images,
        wrong=predictions != test_set.labels[indices],
        predictions=predictions,
        accuracy=float(np.mean([r.test.accuracy for r in cell_results.finished if r.test])),
    )


def _as_graded(cell_results: "CellResults", test_set: "TestSet") -> NDArray[np.uint8]:
    """All test images where the cell's models were graded on them: uint8 [N, canvas, canvas]."""
    from mnist_ray.data.dataset import draw_offsets, place
    from mnist_ray.plan.seeds import evaluation_generator

    offsets = draw_offsets(
        test_set.image_size,
        len(test_set.labels),
        shift=cell_results.cell.shift,
        canvas=cell_results.cell.canvas,
        generator=evaluation_generator(int(cell_results.records[0].identity["seed"])),
    )
    return place(test_set.images, offsets, canvas=cell_results.cell.canvas)


def _predict(model: Any, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The model's class of each image; int64 [n]."""
    scaled = images[..., np.newaxis].astype(np.float32) / 255
    probabilities = np.asarray(model(scaled, training=False))
    classes: NDArray[np.int64] = np.argmax(probabilities, axis=-1)
    return classes


def _load_model(folder: ResultsFolder, file: str, cell: "Cell") -> Any:
    with _silent_stderr():
        import keras

    if ":" in cell.builder:
        # Layers of the user's own are known to Keras once their module is imported.
        with contextlib.suppress(ImportError):
            importlib.import_module(cell.builder.partition(":")[0])
    with tempfile.TemporaryDirectory() as copy:
        path = Path(copy) / "model.keras"
        path.write_bytes(folder.read(file))
        try:
            return keras.saving.load_model(path, compile=False)
        except Exception as error:  # Whatever a damaged or foreign file makes Keras raise.
            raise InputError(
                f"results: the model {folder.uri}/{file} can't be loaded ({_first_line(error)}). "
                "If it has layers of your own, run this in the folder where their module lies."
            ) from error


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """For TensorFlow's import, which greets from C++ whatever its log level is."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    before = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


# What is shown


def tabulate(check: SanityCheck) -> "Table":
    """A row for the truth and one for each model; what is wrong is marked."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=_title(check), title_justify="left")
    table.add_column("")
    table.add_column("digits")
    for heading in ("mistakes", "probability of none"):
        table.add_column(heading, justify="right")
    table.add_row("truth", _digits(check.truth, wrong=None), end_section=True)
    for verdict in check.verdicts:
        table.add_row(
            escape(verdict.label),
            _digits(verdict.predictions, wrong=verdict.wrong),
            str(verdict.mistakes),
            f"{verdict.probability_of_none:.3f}",
        )
    return table


def _title(check: SanityCheck) -> str:
    count = len(check.truth)
    return f"{count} random test digit{'s' if count > 1 else ''} of {check.dataset}"


def _digits(classes: NDArray[np.int64], *, wrong: NDArray[np.bool_] | None) -> str:
    """Classes below each other in every row, as rich's markup."""
    flags = np.zeros(len(classes), bool) if wrong is None else wrong
    return " ".join(
        f"[bold red]{number}✗[/]" if is_wrong else f"{number} "
        for number, is_wrong in zip(classes, flags, strict=True)
    )


def save_picture(check: SanityCheck, path: Path) -> None:
    """The digits as each variant presents them, with truth and predictions, as an image file.

    Raises:
        InputError: it can't be written.
    """
    from matplotlib.figure import Figure

    presentations = _by_presentation(check.verdicts)
    across = min(len(check.truth), _PICTURES_ACROSS)
    down = -(-len(check.truth) // across)
    lines = max(map(len, presentations.values())) + 2
    height = len(presentations) * down * (_INCHES + lines * _LINE_INCHES)
    figure = Figure(figsize=(max(5.0, across * (_INCHES + 0.7)), height), layout="constrained")
    parts = figure.subfigures(len(presentations), 1, squeeze=False).flat
    for part, (variant, verdicts) in zip(parts, presentations.items(), strict=True):
        part.suptitle(variant)
        axes = part.subplots(down, across, squeeze=False).flat
        for number, place in enumerate(axes):
            if number < len(check.truth):
                _draw_digit(place, number, int(check.truth[number]), verdicts)
            else:
                place.set_axis_off()
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise InputError(
            f"--save {path}: can't be written ({error}). Name another file."
        ) from error


def _by_presentation(verdicts: Sequence[Verdict]) -> Mapping[str, Sequence[Verdict]]:
    """The verdicts on each way that the images are presented, by the variant's name."""
    groups: dict[tuple[str, int, int], list[Verdict]] = {}
    for verdict in verdicts:
        cell = verdict.cell
        groups.setdefault((cell.variant, cell.shift, cell.canvas), []).append(verdict)
    several = len({variant for variant, _, _ in groups}) < len(groups)
    return {
        f"{variant} (shift {shift}, canvas {canvas})" if several else variant: group
        for (variant, shift, canvas), group in groups.items()
    }


def _draw_digit(axes: "Axes", number: int, truth: int, verdicts: Sequence[Verdict]) -> None:
    axes.imshow(verdicts[0].images[number], cmap="gray_r", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"truth {truth}", fontsize=9)
    for line, verdict in enumerate(verdicts, start=1):
        is_wrong = bool(verdict.wrong[number])
        axes.annotate(
            f"{verdict.short_label}: {verdict.predictions[number]}{' ✗' if is_wrong else ''}",
            (0.5, 0),
            xytext=(0, -line * _LINE_INCHES * 72 + 4),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=7,
            color="tab:red" if is_wrong else "black",
            parse_math=False,
        )


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.save is not None:
            _check_picture(options.save)
        _run(options)
    except (InputError, StorageError) as error:
        return report_error(error, command="mnist_ray.sanity_check")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_ray.sanity_check",
        description="Let the saved models of a sweep read a few random test digits.",
    )
    parser.add_argument("results", metavar="RESULTS", help="a sweep's folder or URI")
    parser.add_argument(
        "--digits", type=integer(least=1), default=5, metavar="N", help="how many (default: 5)"
    )
    parser.add_argument(
        "--seed", type=integer(least=0), default=0, metavar="N", help="draws them (default: 0)"
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="a picture of them, too (.png)")
    return parser


def _check_picture(path: Path) -> None:
    """Before TensorFlow is imported and models are loaded for nothing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    formats = sorted(FigureCanvasAgg.get_supported_filetypes())
    if path.suffix.lower().removeprefix(".") not in formats:
        allowed = ", ".join(f".{name}" for name in formats)
        raise InputError(f"--save {path}: its name must end in one of {allowed}.")
    if not path.absolute().parent.is_dir():
        raise InputError(
            f"--save {path}: there is no folder {path.parent}. Make it, or name another file."
        )


def _run(options: argparse.Namespace) -> None:
    from rich.console import Console

    from mnist_ray.analysis.reading import find_sweep

    folder = find_sweep(ResultsFolder.open(options.results))
    check = check_models(folder, digits=options.digits, seed=options.seed)
    console = Console(highlight=False)
    console.print(tabulate(check))
    console.print(
        "The probability that none of so many digits is wrong is the cell's mean test accuracy to "
        f"the power of {options.digits}, as if mistakes were independent of each other.",
        soft_wrap=not console.is_terminal,
    )
    for label in check.without_model:
        console.print(f"No saved model: {label}", markup=False)
    if options.save is not None:
        save_picture(check, options.save)
        console.print(f"The picture: {options.save}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
