"""Which versions trials ran with: results of several may be averaged, but not unnoticed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from mnist_ray.analysis import phrases
from mnist_ray.ledger.record import Record, Status, Versions
from mnist_ray.space.columns import SWEEP

if TYPE_CHECKING:  # a sweep's start does not wait for what tables need
    from mnist_ray.analysis.tables import Tables

_MOST_CELLS = 6


def outdated_sentences(
    records: Iterable[Record], installed: Versions, *, are_run_again: bool
) -> list[str]:
    """A sentence on the records that ran with other versions than are installed, if any did."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        if record.setting and record.has_other_versions(installed):
            names = ("dataset", "architecture", "variant")
            cell = phrases.cell({name: getattr(record, name) for name in names})
            counts.setdefault(record.setting.versions.of_training, Counter())[cell] += 1
    if not counts:
        return []
    what = "they run again" if are_run_again else "they count all the same; --fresh runs them again"
    return [
        f"Recorded with other versions than are installed ({installed.of_training}): "
        f"{'; '.join(_with_cells(versions, cells) for versions, cells in counts.items())}; {what}."
    ]


def mixture_sentences(tables: "Tables") -> list[str]:
    """A sentence on the versions that the finished trials ran with, if they are several."""
    counts = _counted(tables)
    if len(counts) < 2:
        return []
    most, *others = sorted(counts, key=lambda versions: -counts[versions].total())
    fewer = "; ".join(_with_cells(versions, counts[versions]) for versions in others)
    return [
        f"The trials ran with different versions: {counts[most].total()} with {most}; {fewer}. "
        "A sweep with --fresh runs again those that ran with others than are installed."
    ]


def _counted(tables: "Tables") -> dict[str, Counter[str]]:
    """For each text of versions, how many trials of each cell ran with them."""
    names = ["key", "dataset", "architecture", "variant", "status"]
    names += ["tensorflow_version", "keras_version", "numpy_version"]
    names += [SWEEP.name] if SWEEP.name in tables.trials.column_names else []
    # By key: cells of equal settings share their trials.
    trials = {(r.get(SWEEP.name), r["key"]): r for r in tables.trials.select(names).to_pylist()}
    counts: dict[str, Counter[str]] = {}
    for row in trials.values():
        if row["status"] != Status.FAILED and row["tensorflow_version"] is not None:
            counts.setdefault(_versions(row).of_training, Counter())[phrases.cell(row)] += 1
    return counts


def _versions(row: Mapping[str, Any]) -> Versions:
    return Versions(**{each.name: row.get(each.name) or "" for each in fields(Versions)})


def _with_cells(versions: str, cells: Counter[str]) -> str:
    named = [f"{cell}: {count}" for cell, count in cells.items()][:_MOST_CELLS]
    more = [f"{len(cells) - _MOST_CELLS} more"] if len(cells) > _MOST_CELLS else []
    return f"{cells.total()} with {versions} ({', '.join([*named, *more])})"
