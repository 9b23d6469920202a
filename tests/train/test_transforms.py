"""Transforms of the user's own: what trials see of them, and what is refused before they start."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import made_up_space
from numpy.typing import NDArray
from small_trials import IMAGES, TRAINING

from mnist_ray.errors import InputError
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.test_sets import asked_test_sets
from mnist_ray.plan.trial import Trial, trials_of
from mnist_ray.space.custom_code import source_digests
from mnist_ray.space.space import Space
from mnist_ray.train.compiled_model import CompiledModel, CompiledModelCache
from mnist_ray.train.placed_images import PlacedImages
from mnist_ray.train.transform_check import checked_image_shapes, transformed_test_images
from mnist_ray.train.transforms import TestImageCache
from mnist_ray.train.trial_run import TrialRun

pytestmark = pytest.mark.usefixtures("tensorflow")

OWN = """
import numpy as np
from of_transforms import brighten

def same(images, generator):
    generator.normal(size=9)
    return images

def bright(images, generator, by=0):
    images += np.uint8(by)
    return brighten(images)

def noisy(images, generator, most):
    return images // 2 + generator.integers(0, most, images.shape, dtype=np.uint8)

def larger(images, generator, pixels=1):
    return np.pad(images, ((0, 0), (0, pixels), (0, 0)))

def coloured(images, generator):
    return np.stack([images] * 3, axis=-1)

def fewer(images, generator):
    return images[1:]

def floats(images, generator):
    return images / 255

def listed(images, generator):
    return [image for image in images]

def sizes(images, generator):
    return images[:, : int(generator.integers(1, 7))]

def own_generator(images, generator):
    return images // 2 + np.random.randint(0, 99, images.shape).astype(np.uint8)

def picky(images, generator, degrees):
    return images if degrees < 90 else 1 / 0
"""
HELPER = "def brighten(images): return images\n"


def space_of(folder: Path, **variants: Any) -> Space:
    (folder / "own.py").write_text(OWN)
    (folder / "of_transforms.py").write_text(HELPER)
    dense = {"build": "feed_forward", "hidden_units": [8]}
    changes = {"architectures": {"it": dense}, "variants": variants, "training": TRAINING}
    return made_up_space(changes, source=folder / "space.yaml")


def with_shapes(space: Space) -> Space:
    return space.with_image_shapes(checked_image_shapes(space, IMAGES, space.user_code()))


def trials(space: Space) -> list[Trial]:
    """The first trial of each cell."""
    sources = source_digests(space.user_code())
    info = DatasetInfo.of(IMAGES, sources=sources)
    return [trials_of(space, cell, info, 1)[0] for cell in space.cells(info.image_shape)]


class WatchedModels(CompiledModelCache):
    """Keeps what the last model is trained on."""

    images: PlacedImages

    def start(self, trial: Trial, placed_images: PlacedImages, **rest: Any) -> CompiledModel:
        self.images = placed_images
        return super().start(trial, placed_images, **rest)


def started(
    space: Space,
    trial: Trial,
    *,
    models: CompiledModelCache | None = None,
    test_images: TestImageCache | None = None,
) -> TrialRun:
    models = models or CompiledModelCache()
    code = space.user_code()
    return TrialRun(trial, IMAGES, compiled_models=models, test_images=test_images, code=code)


def seen(space: Space, trial: Trial) -> NDArray[np.uint8]:
    """The training images as the model sees them."""
    models = WatchedModels()
    started(space, trial, models=models)
    labels = models.images.labels
    ((batches, _),) = models.images.chunks(np.arange(len(labels)), len(labels))
    return batches[0]


# What a trial sees


def test_what_a_transform_draws_moves_no_image(tmp_path: Path) -> None:
    own = {"transform": "own:same", "shift": 3}
    space = with_shapes(space_of(tmp_path, plain={"shift": 3}, own=own))
    plain, drawing = (seen(space, trial) for trial in trials(space))
    assert np.array_equal(plain, drawing)
    plain, drawing = (started(space, trial) for trial in trials(space))
    assert plain.evaluate(3).accuracy == drawing.evaluate(3).accuracy


def test_a_transform_comes_before_the_shift_and_may_change_the_size(tmp_path: Path) -> None:
    own = {"transform": "own:larger", "pixels": 2, "shift": 1}
    space = with_shapes(space_of(tmp_path, own=own))
    (trial,) = trials(space)
    assert (trial.cell.canvas, seen(space, trial).shape[1:]) == (9, (9, 9))
    assert trial.cell.columns()["pixels"] == 2


def test_a_transform_may_give_images_in_colour(tmp_path: Path) -> None:
    space = with_shapes(space_of(tmp_path, own={"transform": "own:coloured"}))
    (trial,) = trials(space)
    assert trial.cell.input_shape == (6, 6, 3)
    assert started(space, trial).evaluate(0).size == len(IMAGES.test_images)


def test_the_data_stay_as_they_are(tmp_path: Path) -> None:
    space = space_of(tmp_path, own={"transform": "own:bright", "by": 9})
    before = IMAGES.train_images.copy()
    assert np.array_equal(seen(space, trials(space)[0]), before + np.uint8(9))
    assert np.array_equal(IMAGES.train_images, before)


def test_all_models_are_graded_on_the_very_same_images(tmp_path: Path) -> None:
    space = space_of(tmp_path, own={"transform": "own:noisy", "most": 99})
    (trial,) = trials(space)
    code, transform = space.user_code(), trial.cell.transform
    assert transform is not None
    kept, again = (transformed_test_images([transform], IMAGES, code, seed=0)[0] for _ in range(2))
    assert np.array_equal(kept, again)
    cache = TestImageCache()
    started(space, trial, test_images=cache).evaluate(0)
    graded = cache.images(IMAGES, transform, seed=0, code=code)
    assert np.array_equal(kept, graded)


def test_an_equal_trial_has_equal_figures(tmp_path: Path) -> None:
    space = space_of(tmp_path, own={"transform": "own:noisy", "most": 99})
    (trial,) = trials(space)
    figures = []
    for _ in range(2):
        under_way = started(space, trial)
        under_way.train_epoch()
        figures.append((under_way.epochs, under_way.evaluate(0).loss))
    assert figures[0] == figures[1]


def test_a_model_is_graded_on_the_images_of_other_variants(tmp_path: Path) -> None:
    variants = {"plain": {}, "dark": {"transform": "own:noisy", "most": 9}, "again": {}}
    space = space_of(tmp_path, **variants)
    space = made_up_space(
        {**space.to_data(), "evaluate": {"variants": "all"}}, source=tmp_path / "space.yaml"
    )
    plain, dark, again = trials(space)
    assert plain.key == again.key  # The names make no difference.
    info = DatasetInfo.of(IMAGES, sources=source_digests(space.user_code()))
    tests = asked_test_sets(space, info)
    of_plain, of_dark = (started(space, trial) for trial in (plain, dark))
    (on_dark,) = of_plain.evaluate_others(tests)
    (on_plain,) = of_dark.evaluate_others(tests)
    assert None not in (on_dark.presentation, on_plain.presentation)
    assert on_dark.presentation != on_plain.presentation
    assert on_dark.loss != of_plain.evaluate(0).loss


# Identity


def test_only_what_a_transform_does_is_in_the_key(tmp_path: Path) -> None:
    def key(**own: Any) -> str:
        return trials(space_of(tmp_path, own=own))[0].key

    before = key(transform="own:bright", by=1)
    assert key() == run_key_without_transform(tmp_path)
    assert key(transform="own:bright", by=2) != before
    assert key(transform="own:same") != before
    (tmp_path / "own.py").write_text("# another comment\n" + OWN)
    assert key(transform="own:bright", by=1) == before
    source = OWN.replace("np.uint8(by)", "np.uint8(2 * by)")
    changed = space_of(tmp_path, own={"transform": "own:bright", "by": 1})
    (tmp_path / "own.py").write_text(source)
    assert trials(changed)[0].key != before
    changed = space_of(tmp_path, own={"transform": "own:bright", "by": 1})
    (tmp_path / "of_transforms.py").write_text("def brighten(images): return images + 1\n")
    assert trials(changed)[0].key != before


def run_key_without_transform(folder: Path) -> str:
    return trials(space_of(folder, another={"shift": 0}))[0].key


# What is refused before anything starts

REFUSED = {
    "own:missing": "no function 'missing'. It has: .*same",
    "own:fewer": r"shape \[15, 6, 6\] for 16 images",
    "own:floats": "float64 values; they must be uint8",
    "own:listed": "gave a list",
    "own:sizes": "all must be of one size",
    "own:own_generator": "different images for equal generators",
}


def test_all_unfit_transforms_are_reported_at_once(tmp_path: Path) -> None:
    variants = {name.partition(":")[2]: {"transform": name} for name in REFUSED}
    with pytest.raises(InputError, match=f"has {len(REFUSED)} errors") as refusal:
        with_shapes(space_of(tmp_path, **variants))
    for message in REFUSED.values():
        refusal.match(message)


def test_each_parameter_of_a_grid_is_tried(tmp_path: Path) -> None:
    own = {"transform": "own:picky", "degrees": {"grid_search": [30, 120]}}
    with pytest.raises(InputError, match=r"picky\(degrees=120\) failed with ZeroDivisionError"):
        with_shapes(space_of(tmp_path, own=own))


def test_a_grid_may_give_several_sizes_and_a_search_may_not(tmp_path: Path) -> None:
    values = [1, 3]
    grid = {"transform": "own:larger", "pixels": {"grid_search": values}}
    space = with_shapes(space_of(tmp_path, own=grid))
    assert [cell.canvas for cell in space.cells((6, 6))] == [7, 9]
    searched = {"transform": "own:larger", "pixels": {"choice": values}}
    with pytest.raises(InputError, match="different sizes"):
        with_shapes(space_of(tmp_path, own=searched))


@pytest.mark.parametrize(
    ("source", "message"), [(None, "there is no module 'absent'"), ("import nowhere", "nowhere")]
)
def test_a_module_that_cannot_be_imported_is_refused(
    source: str | None, message: str, tmp_path: Path
) -> None:
    if source:
        (tmp_path / "absent.py").write_text(source)
    with pytest.raises(InputError, match=message):
        with_shapes(space_of(tmp_path, own={"transform": "absent:rotate"}))
