"""Squares in rows and columns, the deeper the colour the higher: matrices and grids."""

import numpy as np
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from mnist_ray.view.svg import series_colour


def squares(places: NDArray[np.int64], series: int, *, opacity: float) -> PathPatch:
    """Filled squares at places (row, column), int64 [n, 2], as one path."""
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    points = places[:, np.newaxis, ::-1] + corners
    codes = np.tile([Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY], len(places))
    path = Path(points.reshape(-1, 2), codes)
    return PathPatch(path, facecolor=series_colour(series), alpha=opacity, linewidth=0)
