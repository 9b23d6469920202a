"""A trial that varies one source of randomness, and what it shares with ordinary trials."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_trials import (
    IMAGES,
    WITH_DROPOUT,
    cell_results,
    run,
    started,
    state_of,
    trial_of,
)

from mnist_ray.plan.trial import Trial
from mnist_ray.space.sources import Source
from mnist_ray.train.compiled_model import CompiledModelCache

pytestmark = pytest.mark.usefixtures("tensorflow")

SHIFTED = {"shift": 2}


def varied(source: Source | None, index: int = 2, architecture: Any = WITH_DROPOUT) -> Trial:
    return replace(trial_of(architecture, index=index, variant=SHIFTED), source=source)


def start_of(trial: Trial, **how: Any) -> dict[str, list[NDArray[Any]]]:
    """The weights, and the state that dropout draws from, before any training."""
    variables = state_of(started(trial, **how))
    # Of all that a checkpoint holds, seed generators alone have two whole numbers.
    is_seed = [v.shape == (2,) and np.issubdtype(v.dtype, np.integer) for v in variables]
    return {
        "dropout": [v for v, seed in zip(variables, is_seed, strict=True) if seed],
        "weights": [v for v, seed in zip(variables, is_seed, strict=True) if not seed],
    }


def are_equal(a: list[NDArray[Any]], b: list[NDArray[Any]]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("keeps", [True, False], ids=["kept model", "new model"])
def test_weights_and_dropout_are_drawn_apart(*, keeps: bool) -> None:
    cache = CompiledModelCache()

    def drawn(source: Source | None, index: int) -> dict[str, list[NDArray[Any]]]:
        trial = varied(source, index)
        return start_of(trial, compiled_models=cache if keeps else CompiledModelCache())

    first, other = drawn(None, 0), drawn(None, 2)
    assert first["dropout"]
    assert not are_equal(first["dropout"], other["dropout"])
    assert not are_equal(first["weights"], other["weights"])
    for source in Source:
        own = drawn(source, 2)
        weights, dropout = source is Source.WEIGHTS, source is Source.DROPOUT
        assert are_equal(own["weights"], (other if weights else first)["weights"])
        assert are_equal(own["dropout"], (other if dropout else first)["dropout"])


def test_every_source_alone_changes_the_figures() -> None:
    cache = CompiledModelCache()
    trials = [varied(None, 0), varied(None), *(varied(source) for source in Source)]
    states = [cell_results(run(trial, cache))[2] for trial in trials]
    assert all(a != b for n, a in enumerate(states) for b in states[:n])


def test_a_trial_that_varies_a_source_is_reproduced() -> None:
    cache = CompiledModelCache()
    for source in Source:
        again = cell_results(run(varied(source), cache))
        assert cell_results(run(varied(source))) == again


def test_a_bootstrap_is_of_the_images_trained_on_alone() -> None:
    trained = int(len(IMAGES.train_images) * 0.85)
    images = IMAGES.train_images.copy()
    labels = IMAGES.train_labels.copy()
    images[:trained], labels[:trained] = images[0], labels[0]
    # All images that are trained on are the same one, so a bootstrap of them changes nothing.
    alike = replace(IMAGES, train_images=images, train_labels=labels)
    trial = trial_of(dataset=alike)
    sampled = replace(trial, source=Source.SAMPLE, index=3)
    assert cell_results(run(sampled, dataset=alike)) == cell_results(run(trial, dataset=alike))


OWN = """
import keras

def build(input_shape, classes):
    return keras.Sequential([
        keras.Input(input_shape),
        keras.layers.Flatten(),
        keras.layers.GaussianNoise(0.5),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""


def test_noise_layers_of_ones_own_draw_from_the_stream_of_dropout(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(OWN)
    own = {"build": "noisy:build"}
    first, other = (start_of(varied(None, i, own), folder=tmp_path) for i in (0, 2))
    for source in (Source.WEIGHTS, Source.DROPOUT):
        drawn = start_of(varied(source, 2, own), folder=tmp_path)
        by_weights = source is Source.WEIGHTS
        assert are_equal(drawn["weights"], (other if by_weights else first)["weights"])
        assert are_equal(drawn["dropout"], (first if by_weights else other)["dropout"])
