"""Heat maps: squares in rows and columns, the deeper the colour the higher their value."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from mnist_ray.view.svg import INK, series_colour


def heat_map(
    figure: Figure, depths: NDArray[np.float64], series: int, *, x_label: str, y_label: str
) -> Axes:
    """Axes with the squares of `depths`, float64 [rows, columns] from 0 to 1; NaN is no square."""
    axes = figure.subplots()
    levels = np.ceil(10 * np.nan_to_num(depths))
    for level in range(1, 11):
        places = np.argwhere(levels == level)
        if len(places):
            axes.add_patch(_squares(places, series_colour(series), opacity=0.065 * level))
    rows, columns = depths.shape
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xlabel(x_label, fontsize=8)
    axes.set_ylabel(y_label, fontsize=8)
    axes.spines[:].set_visible(True)
    return axes


def _squares(places: NDArray[np.int64], colour: str, *, opacity: float) -> PathPatch:
    """Filled squares at places (row, column), int64 [n, 2], as one path."""
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    points = places[:, np.newaxis, ::-1] + corners
    codes = np.tile([Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY], len(places))
    path = Path(points.reshape(-1, 2), codes)
    return PathPatch(path, facecolor=colour, alpha=opacity, linewidth=0)


def write_in_square(
    axes: Axes, place: tuple[int, int], text: str, *, colour: str = INK, weight: str = "normal"
) -> None:
    """`text` in the square at `place`, its row and column."""
    row, column = place
    axes.text(
        column,
        row,
        text,
        ha="center",
        va="center",
        fontsize=6.5,
        fontweight=weight,
        color=colour,
        in_layout=False,  # they are inside anyway, and there are many
    )
