"""The cells' trials one after the other, as a plain Keras program would run them."""

import sys

import keras
import numpy as np

data, trials, *cells = sys.argv[1:]
archive = np.load(data)
layers = keras.layers


def images(part: str, shift: int) -> np.ndarray:
    """float32 [n, side, side, 1], each digit at random on its canvas."""
    plain = archive[f"x_{part}"].astype("float32") / 255
    count, size, _ = plain.shape
    placed = np.zeros((count, size + shift, size + shift, 1), "float32")
    offsets = np.random.default_rng(0).integers(0, shift + 1, (count, 2))
    for image, (top, left), canvas in zip(plain, offsets, placed, strict=True):
        canvas[top : top + size, left : left + size, 0] = image
    return placed


def build(architecture: str, side: int) -> keras.Model:
    """The notebook's model."""
    head = [keras.Input((side, side, 1))]
    if architecture == "feed_forward":
        body = [layers.Flatten(), layers.Dense(512, "relu"), layers.Dense(256, "relu")]
    else:
        body = [
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2, strides=1),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2, strides=1),
            layers.Flatten(),
            layers.Dense(128, "relu"),
            layers.Dropout(0.5),
        ]
    return keras.Sequential([*head, *body, layers.Dense(10, "softmax")])


for cell in cells:
    architecture, shift = cell.split(":")
    train, test = images("train", int(shift)), images("test", int(shift))
    for _ in range(int(trials)):
        keras.backend.clear_session()
        model = build(architecture, train.shape[1])
        model.compile(
            loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"]
        )
        model.fit(train, archive["y_train"], batch_size=32, validation_split=0.1, verbose=0)
        _, accuracy = model.evaluate(test, archive["y_test"], batch_size=32, verbose=0)
        print(cell, accuracy, flush=True)
