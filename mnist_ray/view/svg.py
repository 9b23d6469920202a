"""Matplotlib figures as SVG elements of the page, and as files of their own.

In the page colours are its CSS variables (`--ink`, `--muted`, `--rule`, `--series-0` …), so that
one figure serves light and dark.
"""

import io
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import ArrayLike

WIDTH = 4.4
"""Inches of a figure as wide as the text; narrow enough to be read on a phone."""

# The page's light colours, as `report.css` has them; in its own drawings it puts its variables in
# their place. No two are equal.
INK, MUTED, RULE = "#1c1d1f", "#5d6066", "#d3d4d0"
_SERIES_COLOURS = (
    *("#2a6aa8", "#c4561c", "#2f8157", "#8350a5"),
    *("#94720c", "#14808c", "#b83a76", "#6b6e76"),
)
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES_COLOURS)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "path.simplify": False,
}
_XLINK = "{http://www.w3.org/1999/xlink}"
_GEOMETRY = ("d", "x", "y", "transform", "points")
_LONG_NUMBER = re.compile(r"\d+\.\d{3,}")
# XML has no place for them, but a name in a search space may hold them.
_NOT_IN_XML = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (*range(0x20), 0xFFFE, 0xFFFF)
    if chr(code) not in "\t\n\r"
}


@dataclass(frozen=True)
class Mark:
    """A place in a chart that says what it is when it is pointed at."""

    axes: Axes
    x: float
    """In the data's coordinates, as is `y`."""
    y: float
    title: str
    is_square: bool = False
    """Whether it fills the unit around its place; else it is as large as a dot."""


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure that is drawn in the colours of this module, with its caption."""

    figure: Figure
    name: str
    """Different from that of every other chart on the page, so that its ids are, too."""
    caption: str
    alternative: str
    """The text for those who cannot see the figure."""
    series: int | None = None
    """The number of the colour beside the caption."""
    marks: Sequence[Mark] = ()

    @property
    def svg(self) -> str:
        """The figure as an SVG element of the page, without a size of its own.

        Equal charts give equal text, byte for byte.
        """
        svg = _draw(self.figure, self.name)
        referenced = _referenced_ids(svg)
        for element in svg.iter():
            element.tag = element.tag.rpartition("}")[2]
            element.attrib = _attributes_for_page(element, referenced)
        view_box = svg.attrib["viewBox"]
        alternative = self.alternative.translate(_NOT_IN_XML)
        svg.attrib = {"class": "plot", "role": "img", "aria-label": alternative}
        svg.set("viewBox", view_box)
        width, height = map(float, view_box.split()[2:])
        svg.extend(_pointed_at(mark, width, height) for mark in self.marks)
        ElementTree.indent(svg, space="")
        return ElementTree.tostring(svg, encoding="unicode")

    def as_file(self, kind: str) -> bytes:
        """The figure as a file, pdf or svg, in the page's light colours and matplotlib's type."""
        file = io.BytesIO()
        with _style({"svg.fonttype": "path", "svg.hashsalt": self.name}):
            undated = {"Date": None} if kind == "svg" else {"CreationDate": None}
            self.figure.savefig(file, format=kind, metadata=undated, transparent=True)
        return file.getvalue()


def series_colour(series: int | None) -> str:
    """What to draw a series in, by its number; the colour of text for None."""
    return INK if series is None else _SERIES_COLOURS[series]


@contextmanager
def page_figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of that size in inches, to be drawn in this context."""
    with _style():
        yield Figure(figsize=(width, height), layout="constrained")


@contextmanager
def _style(changes: Mapping[Any, Any] | None = None) -> Iterator[None]:
    with mpl.rc_context({**_STYLE, **(changes or {})}), warnings.catch_warnings():
        # The browser has the letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        yield


def limits(
    values: Iterable[float | None], bounds: tuple[float, float], *, margin: tuple[float, float]
) -> tuple[float, float]:
    """The ends of an axis: beyond the smallest and the largest value, as far as `bounds`.

    `margin` is the share of their distance that lies beyond, and what does where they are equal.
    """
    known = [value for value in values if value is not None]
    low, high = np.clip([min(known), max(known)], *bounds)
    beyond = margin[0] * (high - low) or margin[1]
    return max(low - beyond, bounds[0]), min(high + beyond, bounds[1])


def rule_lines(axes: Axes, axis: Literal["x", "y"]) -> None:
    axes.grid(axis=axis, color=RULE, linewidth=0.5, alpha=0.7)
    axes.set_axisbelow(True)


def round_strokes(
    points: ArrayLike, codes: ArrayLike, colour: str, *, width: float, opacity: float
) -> PathPatch:
    """A path, float64 [n, 2] with its n codes, whose strokes without length are dots."""
    return PathPatch(
        Path(np.asarray(points, np.float64).reshape(-1, 2), np.asarray(codes, np.uint8)),
        fill=False,
        edgecolor=colour,
        linewidth=width,
        capstyle="round",
        alpha=opacity,
        clip_on=False,
    )


def _draw(figure: Figure, salt: str) -> ElementTree.Element:
    """Matplotlib's drawing without its background, its metadata, and its style sheet."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    buffer = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    with _style({"svg.hashsalt": salt}):
        canvas.print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = ElementTree.fromstring(buffer.getvalue().translate(_NOT_IN_XML))  # noqa: S314
    svg[0].remove(svg[0][0])  # The style sheet would apply to the whole page.
    return svg


def _pointed_at(mark: Mark, width: float, height: float) -> ElementTree.Element:
    """An element that cannot be seen, with a title that browsers show; sizes are the drawing's."""
    corners = [(mark.x, mark.y), (mark.x - 0.5, mark.y - 0.5), (mark.x + 0.5, mark.y + 0.5)]
    to_share = mark.axes.figure.transFigure.inverted()
    shares = to_share.transform(mark.axes.transData.transform(corners))
    (x, y), *ends = ((width * share, height * (1 - up)) for share, up in shares)
    if mark.is_square:
        (left, right), (top, bottom) = (sorted(values) for values in zip(*ends, strict=True))
        place = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    else:
        place = {"cx": x, "cy": y, "r": 3.5}
    attributes = {name: f"{value:.1f}" for name, value in place.items()} | {"class": "mark"}
    element = ElementTree.Element("rect" if mark.is_square else "circle", attributes)
    ElementTree.SubElement(element, "title").text = mark.title.translate(_NOT_IN_XML)
    return element


def _referenced_ids(svg: ElementTree.Element) -> set[str]:
    """The ids that other elements refer to."""
    attributes = (attribute for element in svg.iter() for attribute in element.items())
    return {
        value.removeprefix("url(").removesuffix(")").removeprefix("#")
        for key, value in attributes
        if key in ("clip-path", f"{_XLINK}href")
    }


def _attributes_for_page(
    element: ElementTree.Element, referenced: Collection[str]
) -> dict[str, str]:
    """An element's attributes with the page's colours and type, the ids that are needed, and no
    more digits than can be seen."""
    attributes = {
        key.removeprefix(_XLINK): value
        for key, value in element.items()
        if key != "id" or value in referenced
    }
    for key, value in attributes.items():
        if key == "style":
            attributes[key] = _style_for_page(value)
        elif key in _GEOMETRY:
            attributes[key] = _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}", value)
    return attributes


def _style_for_page(style: str) -> str:
    declarations = (declaration.partition(": ") for declaration in style.split("; "))
    return "; ".join(
        f"{property_}: {VARIABLES.get(value, value)}"
        for property_, _, value in declarations
        if property_ != "font-family"
    )
