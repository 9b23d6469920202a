"""A progress bar, on a terminal or in a notebook's cell.

Both are started with a text that says how much is done. Each step adds an amount of work to what is
done of a total; how long the rest will take follows from that.
"""

import html
import logging
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from mnist_ray.analysis.numbers import duration

_NARROW = 60
"""Columns of a terminal that has room for a bar."""


def bar_for(console: Console) -> "TerminalBar | NotebookBar | None":
    """The one that `console` can show; None for a file or a pipe."""
    if console.is_jupyter:
        return NotebookBar()
    return TerminalBar(console) if console.is_terminal else None


def ignore_missing_widgets() -> None:
    """Silence Ray and tqdm, which ask for ipywidgets when imported in a notebook.

    No bar that is shown here needs them.
    """
    logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="IProgress not found")


class TerminalBar(Progress):
    """A bar with lines below it, gone when all is done."""

    _below: Sequence[str] = ()

    def __init__(self, console: Console) -> None:
        is_narrow = console.width < _NARROW
        super().__init__(
            *([] if is_narrow else [BarColumn(bar_width=None)]),
            TextColumn("{task.fields[text]}"),
            _TimesColumn(is_brief=is_narrow),
            console=console,
            transient=True,
            expand=True,
            # A trial may take minutes: the speed of all so far is the best guess.
            speed_estimate_period=3600 * 24,
        )

    def begin(self, text: str) -> None:
        # Without a total it pulses: Ray and TensorFlow take their time to start.
        self._task = self.add_task("", total=None, text=text)
        self.start()

    def step(self, amount: float, *, total: float, text: str, below: Sequence[str] = ()) -> None:
        self._below = below
        self.update(self._task, total=total, advance=amount, text=text)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for line in self._below:
            yield Text(line, style="dim", no_wrap=True, overflow="ellipsis")


class _TimesColumn(ProgressColumn):
    def __init__(self, *, is_brief: bool) -> None:
        super().__init__()
        self._is_brief = is_brief

    def render(self, task: Task) -> Text:
        left = None if task.finished else task.time_remaining
        if self._is_brief and left is not None:
            return Text(f"{duration(left)} left")
        return Text(_times(task.elapsed or 0.0, left))


class NotebookBar:
    """The browser's own bar, which stays in the cell; rich's would need ipywidgets.

    `clock` gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._begin = clock, clock()
        self._text, self._below = "", tuple[str, ...]()
        self._done, self._total = 0.0, 0.0
        self._handle: Any = None

    def begin(self, text: str) -> None:
        # Only there in a notebook.
        from IPython.display import display

        self._begin, self._text = self._clock(), text
        self._handle = display(self, display_id=True)  # type: ignore[no-untyped-call]

    def step(self, amount: float, *, total: float, text: str, below: Sequence[str] = ()) -> None:
        self._done, self._total = self._done + amount, total
        self._text, self._below = text, (*below,)
        if self._handle:  # None outside a notebook, where it is shown but once.
            self._handle.update(self)

    def stop(self) -> None:
        """Leave it as it is."""

    def _repr_html_(self) -> str:
        share = self._share
        # Without a value it pulses: Ray and TensorFlow take their time to start.
        value = f' value="{share:.4f}"' if share else ""
        style = "width: 20em; max-width: 40%; vertical-align: middle"
        bar = f'<progress max="1"{value} style="{style}"></progress> {html.escape(str(self))}'
        return "<br>".join([bar, *map(html.escape, self._below)])

    def __repr__(self) -> str:
        """What is shown where there is no HTML."""
        elapsed = self._clock() - self._begin
        share = self._share
        left = elapsed / share - elapsed if 0 < share < 1 else None
        return f"{self._text}, {_times(elapsed, left)}"

    @property
    def _share(self) -> float:
        return min(self._done / self._total, 1.0) if self._total else 0.0


def _times(elapsed: float, left: float | None) -> str:
    return f"{duration(elapsed)} elapsed" + ("" if left is None else f", {duration(left)} left")
