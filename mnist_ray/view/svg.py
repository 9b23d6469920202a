"""Matplotlib figures as SVG elements of the page, which gives them its colours and type.

Colours are the page's CSS variables (`--ink`, `--muted`, `--rule`, `--series-0` …), so that one
figure serves light and dark.
"""

import io
import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

WIDTH = 4.4
"""Inches of a figure as wide as the text; narrow enough to be read on a phone."""

# Matplotlib needs colours of its own, so each variable has a stand-in that nothing else has.
INK, MUTED, RULE = "#000001", "#000002", "#000003"
_SERIES_COLOURS = [f"#{16 + number:06x}" for number in range(8)]  # as many as the page has
_VARIABLES = {
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
class Chart:
    """A figure with its caption."""

    svg: str
    caption: str
    series: int | None = None
    """The number of the colour beside the caption."""


def series_colour(series: int | None) -> str:
    """What to draw a series in, by its number; the colour of text for None."""
    return INK if series is None else _SERIES_COLOURS[series]


@contextmanager
def page_figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of that size in inches, to be drawn and written in this context."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The browser has the letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        yield Figure(figsize=(width, height), layout="constrained")


def rule_lines(axes: Axes, axis: Literal["x", "y"]) -> None:
    axes.grid(axis=axis, color=RULE, linewidth=0.5, alpha=0.7)
    axes.set_axisbelow(True)


def to_svg(figure: Figure, name: str, alternative: str) -> str:
    """The figure as an SVG element without a size of its own.

    Equal figures give equal text, byte for byte.

    Args:
        figure: drawn in the colours of this module.
        name: different from that of every other figure on the page, so that its ids are, too.
        alternative: the text for those who cannot see the figure.
    """
    with mpl.rc_context({"svg.hashsalt": name}):
        svg = _draw(figure)
    referenced = {
        value.removeprefix("url(").removesuffix(")").removeprefix("#")
        for element in svg.iter()
        for key, value in element.items()
        if key in ("clip-path", f"{_XLINK}href")
    }
    for element in svg.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = dict(_attributes_for_page(element, referenced))
    svg.attrib = {
        "class": "plot",
        "role": "img",
        "aria-label": alternative.translate(_NOT_IN_XML),
        "viewBox": svg.attrib["viewBox"],
    }
    ElementTree.indent(svg, space="")
    return ElementTree.tostring(svg, encoding="unicode")


def _draw(figure: Figure) -> ElementTree.Element:
    """Matplotlib's drawing without its background, its metadata, and its style sheet, which would
    apply to the whole page."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    buffer = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    svg = ElementTree.fromstring(buffer.getvalue().translate(_NOT_IN_XML))  # noqa: S314
    for parent in list(svg.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    return svg


def _attributes_for_page(
    element: ElementTree.Element, referenced: Collection[str]
) -> Iterator[tuple[str, str]]:
    """An element's attributes with the page's colours and type, the ids that are needed, and no
    more digits than can be seen."""
    for key, value in element.items():
        if key == "id":
            if value in referenced:
                yield key, value
        elif key == f"{_XLINK}href":
            yield "href", value
        elif key == "style":
            yield key, _style_for_page(value)
        elif key in _GEOMETRY:
            yield key, _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}", value)
        else:
            yield key, value


def _style_for_page(style: str) -> str:
    declarations = (declaration.partition(": ") for declaration in style.split("; "))
    return "; ".join(
        f"{property_}: {_VARIABLES.get(value, value)}"
        for property_, _, value in declarations
        if property_ != "font-family"
    )
