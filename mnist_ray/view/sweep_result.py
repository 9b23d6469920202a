"""What a sweep gives back to a notebook."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, eq=False)
class SweepResult:
    """How a sweep ended; in a notebook it shows itself as the table of means.

    Attributes:
        folder: where it lies, as a path or URI.
        report: one row a cell, as `mnist_ray.load_report` gives it; None for a dry run.
        exit_code: 0 all finished, 1 some trials failed, 130 interrupted.
    """

    folder: str
    report: pd.DataFrame | None
    exit_code: int

    def _repr_html_(self) -> str:
        if self.report is None:
            return ""
        return str(self.report[_shown_columns(self.report)].to_html(index=False))


def _shown_columns(report: pd.DataFrame) -> list[str]:
    """Names, what varies within an architecture and variant, and the figures up to the interval."""
    columns = report.columns.tolist()
    first, last = columns.index("trials"), columns.index("ci95_high")
    names, settings = columns[:3], columns[3:first]
    families = report.groupby(["architecture", "variant"], observed=True)
    varying = [name for name in settings if (families[name].nunique() > 1).any()]
    return [*names, *varying, *columns[first : last + 1]]
