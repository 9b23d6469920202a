"""Matplotlib figures as SVG elements of the page, and as files of their own.

In the page colours are its CSS variables (`--ink`, `--muted`, `--rule`, `--series-0` …), so that
one figure serves light and dark.
"""

import io
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Literal
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

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
    """A place in a drawing that says what it is when it is pointed at."""

    axes: Axes
    x: float
    """In the data's coordinates, as is `y`."""
    y: float
    title: str
    is_square: bool = False
    """Whether it fills the unit around its place; else it is as large as a dot."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure that is drawn in the colours of this module."""

    figure: Figure
    name: str
    """Different from that of every other figure on the page, so that its ids are, too."""
    alternative: str
    """The text for those who cannot see the figure."""
    marks: Sequence[Mark] = ()

    def svg(self) -> str:
        """As an SVG element of the page, without a size of its own.

        Equal figures give equal text, byte for byte.
        """
        return _to_svg(self)

    def write(self, file: IO[bytes], kind: Literal["pdf", "svg"]) -> None:
        """As a file of its own, in the page's light colours and matplotlib's type."""
        with _drawing_style({"svg.fonttype": "path", "svg.hashsalt": self.name}):
            undated = {"Date": None} if kind == "svg" else {"CreationDate": None}
            self.figure.savefig(file, format=kind, metadata=undated, transparent=True)


@dataclass(frozen=True)
class Chart:
    """A figure with its caption."""

    drawing: Drawing
    caption: str
    series: int | None = None
    """The number of the colour beside the caption."""

    @property
    def svg(self) -> str:
        """Its element of the page."""
        return self.drawing.svg()


def series_colour(series: int | None) -> str:
    """What to draw a series in, by its number; the colour of text for None."""
    return INK if series is None else _SERIES_COLOURS[series]


@contextmanager
def page_figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of that size in inches, to be drawn and written in this context."""
    with _drawing_style():
        yield Figure(figsize=(width, height), layout="constrained")


@contextmanager
def _drawing_style(changes: Mapping[Any, Any] | None = None) -> Iterator[None]:
    with mpl.rc_context({**_STYLE, **(changes or {})}), warnings.catch_warnings():
        # The browser has the letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        yield


def rule_lines(axes: Axes, axis: Literal["x", "y"]) -> None:
    axes.grid(axis=axis, color=RULE, linewidth=0.5, alpha=0.7)
    axes.set_axisbelow(True)


def _to_svg(drawing: Drawing) -> str:
    with _drawing_style({"svg.hashsalt": drawing.name}):
        svg = _draw(drawing.figure)
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
        "aria-label": drawing.alternative.translate(_NOT_IN_XML),
        "viewBox": svg.attrib["viewBox"],
    }
    svg.extend(_pointed_at(drawing, svg.attrib["viewBox"]))
    ElementTree.indent(svg, space="")
    return ElementTree.tostring(svg, encoding="unicode")


def _pointed_at(drawing: Drawing, view_box: str) -> Iterator[ElementTree.Element]:
    """Elements that cannot be seen, each with a title that browsers show."""
    if not drawing.marks:
        return
    width, height = map(float, view_box.split()[2:])
    to_share = drawing.figure.transFigure.inverted()
    for mark in drawing.marks:
        corners = [(mark.x, mark.y), (mark.x - 0.5, mark.y - 0.5), (mark.x + 0.5, mark.y + 0.5)]
        shares = to_share.transform(mark.axes.transData.transform(corners))
        (x, y), *ends = ((width * share, height * (1 - up)) for share, up in shares)
        if mark.is_square:
            (left, right), (top, bottom) = (sorted(values) for values in zip(*ends, strict=True))
            place = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        else:
            place = {"cx": x, "cy": y, "r": 3.5}
        attributes = {name: f"{value:.1f}" for name, value in place.items()}
        element = ElementTree.Element("rect" if mark.is_square else "circle", attributes)
        element.set("class", "mark")
        ElementTree.SubElement(element, "title").text = mark.title.translate(_NOT_IN_XML)
        yield element


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
        f"{property_}: {VARIABLES.get(value, value)}"
        for property_, _, value in declarations
        if property_ != "font-family"
    )
