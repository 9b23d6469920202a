"""Where models lose most when they are graded on the images of other variants."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mnist_ray.analysis import phrases
from mnist_ray.analysis.tables import CELL

Row = Mapping[str, Any]


def largest_loss(start: str, cells: Collection[str], robustness: Sequence[Row]) -> list[str]:
    """A sentence on the largest loss of the cells with these keys; none where there is no loss.

    `robustness` are the rows of that table. The loss of a model is its accuracy on its own
    variant's test images minus that on those of another variant. One is claimed only where its
    interval does not hold 0.
    """
    losses = [
        row
        for row in robustness
        if row[CELL] in cells and row["test_variant"] != row["variant"] and row["trials"]
    ]
    row = max(losses, key=lambda each: each["mean_drop"], default=None)
    if row is None or row["mean_drop"] <= 0 or (row["drop_ci95_low"] or 0.0) < 0:
        return []
    bounds = phrases.interval(
        {"ci95_low": row["drop_ci95_low"], "ci95_high": row["drop_ci95_high"]}
    )
    note = ", ".join(filter(None, [bounds, f"n = {row['trials']}"]))
    chance = "" if bounds else ", which may be chance"
    images = phrases.images(row["dataset"])
    own = row["mean_test_accuracy"] + row["mean_drop"]
    return [
        f"{start} loses most where it is trained on {row['variant']} and tested on "
        f"{row['test_variant']} {images}: {row['mean_test_accuracy']:.3f}, and {own:.3f} on its "
        f"own test {images}, a loss of {row['mean_drop']:.3f} ({note}){chance}."
    ]
