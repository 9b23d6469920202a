"""Let the saved models read random test images: `mnist-ray sanity-check RESULTS`."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnist_ray._command import integer, option, run_command
from mnist_ray.errors import InputError, first_line
from mnist_ray.ledger.results_folder import ResultsFolder

# What is heavy (Keras, pyarrow's Parquet, matplotlib) is imported where it is used, so that
# `--help` and errors in the arguments are quick.
if TYPE_CHECKING:
    from mnist_ray.analysis.sweep_results import CellResults, SweepResults
    from mnist_ray.ledger.test_images import TestSet
    from mnist_ray.space.space import Cell
    from mnist_ray.view.examples import Guess


@dataclass(frozen=True, eq=False)
class SanityCheck:
    """What the saved model of each cell predicts for the same random test images."""

    dataset: str
    guesses: Sequence["Guess"]
    """At least one."""
    without_model: Sequence[str]
    """Cells with finished trials whose model is not in the folder, by their labels."""


def check_models(folder: ResultsFolder, *, images: int, seed: int) -> SanityCheck:
    """Draw `images` test images by `seed`, and ask the saved models of the sweep in `folder`.

    Every cell gets the same images, each placed where all the sweep's trials were graded on it.
    Needs TensorFlow in this process.

    Raises:
        InputError: there are no models or test images, fewer than asked for, or a model
            cannot be loaded.
        StorageError: something cannot be read.
    """
    from mnist_ray.analysis.reading import read_results
    from mnist_ray.analysis.settings import grouped
    from mnist_ray.view.cell_views import label, name_parts
    from mnist_ray.view.examples import Guess, as_graded, draw_images

    results = read_results(folder)
    test_set = _test_set(results, at_least=images, uri=folder.uri)
    indices = draw_images(test_set, images, seed=seed)
    finished = [cell for cell in results.cells if cell.finished]
    # A cell that ran on several kinds of device has one model all the same.
    cells = [group[0] for group in grouped(finished, lambda cell: cell.cell.name).values()]
    files = _model_files(cells, folder)
    parts = name_parts(cells)
    guesses = []
    for cell in cells:
        if file := files[cell.key]:
            own = _images_of(cell, results, uri=folder.uri)
            model = _load_model(folder, file, cell.cell)
            predictions = _predict(model, as_graded(cell, indices, own))
            guesses.append(Guess(cell, parts[cell.key], own, indices, predictions))
    without_model = [label(parts[cell.key]) for cell in cells if not files[cell.key]]
    return SanityCheck(test_set.dataset, guesses, without_model)


def _model_files(cells: "Sequence[CellResults]", folder: ResultsFolder) -> dict[str, str | None]:
    """The saved model of each cell, if there is one, by the cell's key."""
    # Not by its name: a cell may have been renamed since its model was trained.
    models = folder.models()
    files = {cell.key: models.get(cell.cell_key[:8]) for cell in cells}
    if not any(files.values()):
        raise InputError(
            f"results: {folder.uri} has no saved models of what its space asks for; "
            "mnist-ray sweep keeps one of each cell when a trial of it finishes."
        )
    return files


def _images_of(cell: "CellResults", results: "SweepResults", *, uri: str) -> "TestSet":
    """The test set with its images transformed as the cell's variant asks for."""
    if (own := results.test_set_of(cell)) is None:
        raise InputError(
            f"results: {uri} does not hold the transformed test images of variant "
            f"{cell.cell.variant!r}; give the command that made it again, which puts them there."
        )
    return own


def _test_set(results: "SweepResults", *, at_least: int, uri: str) -> "TestSet":
    from mnist_ray.analysis import phrases

    if results.test_set is None:
        raise InputError(
            f"results: {uri} holds no test images to draw from; give the command that made it "
            "again, which puts them there."
        )
    size = len(results.test_set.labels)
    if at_least > size:
        images = phrases.images(results.dataset)
        raise InputError(
            f"--{images} {at_least}: {uri} has {size} test {images}; ask for 1 to {size} of them."
        )
    return results.test_set


def _predict(model: Any, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The model's class of each image; int64 [n]."""
    with_channels = images if images.ndim == 4 else images[..., np.newaxis]
    probabilities = model(with_channels.astype(np.float32) / 255, training=False)
    classes: NDArray[np.int64] = np.argmax(np.asarray(probabilities), axis=-1)
    return classes


def _load_model(folder: ResultsFolder, file: str, cell: "Cell") -> Any:
    with _silent_stderr():
        import keras

    from mnist_ray.space.custom_code import modules_of
    from mnist_ray.train import custom_modules

    if ":" in cell.builder:
        # Layers of the user's own are known to Keras once their module is imported.
        with contextlib.suppress(Exception):  # A model of Keras' own layers needs none of it.
            modules = modules_of(cell.builder, Path.cwd())
            custom_modules.execute(cell.builder.partition(":")[0], modules)
    with tempfile.TemporaryDirectory() as copy:
        path = Path(copy) / "model.keras"
        path.write_bytes(folder.read(file))
        try:
            return keras.saving.load_model(path, compile=False)
        except Exception as error:  # Whatever a damaged or foreign file makes Keras raise.
            raise InputError(
                f"results: the model {folder.uri}/{file} cannot be loaded ({first_line(error)}). "
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


# The command


@dataclass(frozen=True)
class SanityCheckOptions:
    """Let the saved models of a sweep read a few random test images."""

    results: str = option("a sweep's folder or URI", default=MISSING, names=[], metavar="RESULTS")
    images: int = option(
        "how many (default: 5)",
        names=["--images", "--digits"],
        default=5,
        type=integer(least=1),
        metavar="N",
    )
    seed: int = option("draws them (default: 0)", default=0, type=integer(least=0), metavar="N")
    save: Path | None = option("a picture of them, too (.png)", type=Path, metavar="FILE")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return run_command("sanity-check", SanityCheckOptions, _run, arguments=arguments)


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


def _save_picture(check: SanityCheck, path: Path) -> None:
    from mnist_ray.view.examples import save_picture

    try:
        save_picture(check.guesses, path)
    except OSError as error:
        raise InputError(
            f"--save {path}: cannot be written ({error}). Name another file."
        ) from error


def _run(options: SanityCheckOptions) -> int:
    from rich.console import Console

    from mnist_ray.analysis import phrases
    from mnist_ray.analysis.numbers import counted
    from mnist_ray.analysis.reading import find_sweep
    from mnist_ray.view.examples import tabulate_guesses

    if options.save is not None:
        _check_picture(options.save)
    folder = find_sweep(ResultsFolder.open(options.results))
    check = check_models(folder, images=options.images, seed=options.seed)
    console = Console(highlight=False)
    images = phrases.images(check.dataset)
    count = counted(options.images, f"random test {images[:-1]}")
    console.print(tabulate_guesses(check.guesses, title=f"{count} of {check.dataset}"))
    console.print(
        f"The probability that none of so many {images} is wrong is the cell's mean test accuracy "
        f"to the power of {options.images}, as if mistakes were independent of each other.",
        soft_wrap=not console.is_terminal,
    )
    for name in check.without_model:
        console.print(f"No saved model: {name}", markup=False)
    if options.save is not None:
        _save_picture(check, options.save)
        console.print(f"The picture: {options.save}", markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
