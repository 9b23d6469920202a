"""Tests of `mnist_ray.view.cell_views`."""

import pytest

from mnist_ray.view.cell_views import Parts, pair_label

CENTERED = {"architecture": "cnn", "variant": "centered"}


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (CENTERED, {**CENTERED, "variant": "shifted"}, "cnn: centered - shifted"),
        (CENTERED, {**CENTERED, "architecture": "mlp"}, "centered: cnn - mlp"),
        (
            {**CENTERED, "dropout": "dropout=0.3", "filters": "filters=[8]"},
            {**CENTERED, "dropout": "dropout=0.5", "filters": "filters=[8]"},
            "cnn · centered · filters=[8]: dropout=0.3 - 0.5",
        ),
        (
            {"sweep": "monday", **CENTERED, "epochs": "epochs=1"},
            {"sweep": "tuesday", **CENTERED, "epochs": "epochs=3"},
            "cnn · centered: monday · epochs=1 - tuesday · epochs=3",
        ),
        (
            {"architecture": "cnn", "variant": "centered", "filters": "filters=[8]"},
            {"architecture": "mlp", "variant": "centered", "units": "units=9"},
            "centered: cnn · filters=[8] - mlp · units=9",
        ),
    ],
)
def test_a_comparison_is_named_by_what_its_cells_share_and_what_not(
    a: Parts, b: Parts, text: str
) -> None:
    shown = pair_label(a, b).replace("\N{NO-BREAK SPACE}", " ")
    assert shown.replace("\N{MINUS SIGN}", "-") == text
