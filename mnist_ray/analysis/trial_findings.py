"""Findings on the trials themselves: their versions, devices and sizes, and failures."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mnist_ray.analysis import phrases
from mnist_ray.analysis.numbers import counted
from mnist_ray.analysis.sweep_results import CellResults, SweepResults
from mnist_ray.ledger.record import Record, Status, Versions
from mnist_ray.space.columns import SWEEP

_MOST_CELLS = 6
_MOST_OF_SEVERAL_SIZES = 4

_Trials = Sequence[tuple[str, Record]]
"""Records, each with its cell in words."""


def outdated_sentences(
    records: Iterable[Record], installed: Versions, *, are_run_again: bool
) -> list[str]:
    """A sentence on the records that ran with other versions than are installed, if any did."""
    outdated = [record for record in records if record.has_other_versions(installed)]
    if not outdated:
        return []
    what = "they run again" if are_run_again else "they count all the same; --fresh runs them again"
    counts = _by_versions([(phrases.cell(vars(record)), record) for record in outdated])
    return [
        f"Recorded with other versions than are installed ({installed.of_training}): "
        f"{'; '.join(_with_cells(*each) for each in counts.items())}; {what}."
    ]


def trial_findings(sweeps: Sequence[SweepResults]) -> Iterator[str]:
    """Cells whose trials differ in size or are shared, failures, versions and devices."""
    recorded = [pair for results in sweeps for pair in results.recorded()]
    names = {each: _name(each, of_several=len(sweeps) > 1) for each, _ in recorded}
    yield from _sizes(recorded, names)
    yield from _shared_trials(recorded, names)
    yield from failures(sweeps)
    # By key: cells of equal settings share their trials.
    trials = {(each.sweep, record.key): (names[each], record) for each, record in recorded}
    ended = [trial for trial in trials.values() if trial[1].status is not Status.FAILED]
    yield from _mixture(ended)
    yield from _devices(ended)


def failures(sweeps: Iterable[SweepResults]) -> list[str]:
    """A sentence on how many trials failed, if any did."""
    recorded = (record for results in sweeps for _, record in results.recorded())
    failed = len({record.key for record in recorded if record.status is Status.FAILED})
    if not failed:
        return []
    them = "it" if failed == 1 else "them"
    return [f"{counted(failed, 'trial')} failed; no mean includes {them}."]


def _name(each: CellResults, *, of_several: bool) -> str:
    cell = {"architecture": each.cell.architecture, "variant": each.cell.variant}
    sweep = {SWEEP.name: each.sweep} if of_several else {}
    return phrases.cell({**sweep, **cell, "dataset": each.dataset})


def _sizes(
    recorded: Iterable[tuple[CellResults, Record]], names: Mapping[CellResults, str]
) -> Iterator[str]:
    """Cells whose trials have different numbers of parameters, which a builder may draw."""
    sizes: dict[tuple[str, str], set[int]] = {}
    texts: dict[tuple[str, str], str] = {}
    for each, record in recorded:
        if record.parameters is not None:
            place = each.sweep, each.cell.name
            sizes.setdefault(place, set()).add(record.parameters)
            texts[place] = names[each]
    named = [
        f"{texts[place]} ({min(found):,} to {max(found):,} parameters)"
        for place, found in sizes.items()
        if len(found) > 1
    ]
    if named:
        hidden = len(named) - _MOST_OF_SEVERAL_SIZES
        more = f" and {counted(hidden, 'more cell')}" if hidden > 0 else ""
        shown = ", ".join(named[:_MOST_OF_SEVERAL_SIZES])
        yield f"The trials of {shown}{more} have models of different sizes."


def _shared_trials(
    recorded: Iterable[tuple[CellResults, Record]], names: Mapping[CellResults, str]
) -> Iterator[str]:
    """Cells of different names that have the same trials, because their settings are equal."""
    owners: dict[tuple[str, str], dict[str, None]] = {}
    for each, record in recorded:
        owners.setdefault((each.sweep, record.key), {})[names[each]] = None
    for *others, last in dict.fromkeys(map(tuple, owners.values())):
        if others:
            yield f"{', '.join(others)} and {last} have equal settings and share their trials."


def _mixture(ended: _Trials) -> Iterator[str]:
    """Results of several versions may be averaged, but not unnoticed."""
    counts = _by_versions(ended)
    if len(counts) > 1:
        most, *others = sorted(counts, key=lambda versions: -counts[versions].total())
        fewer = "; ".join(_with_cells(versions, counts[versions]) for versions in others)
        yield (
            f"The trials ran with different versions: {counts[most].total()} with {most}; {fewer}. "
            "A sweep with --fresh runs again those that ran with others than are installed."
        )


def _devices(ended: _Trials) -> Iterator[str]:
    """What ran on different devices is not compared."""
    counts = Counter(record.device for _, record in ended if record.device)
    if len(counts) > 1:
        devices = ", ".join(f"{count} on {device}" for device, count in sorted(counts.items()))
        unnamed = " A finding that names no device is about the CPU." if "CPU" in counts else ""
        yield (
            f"The trials ran on different devices: {devices}. Each mean is over trials on one "
            f"device, and cells on different devices are not compared.{unnamed}"
        )


def _by_versions(trials: _Trials) -> dict[str, Counter[str]]:
    """For each text of versions, how many trials of each cell ran with them."""
    counts: dict[str, Counter[str]] = {}
    for cell, record in trials:
        if record.setting:
            counts.setdefault(record.setting.versions.of_training, Counter())[cell] += 1
    return counts


def _with_cells(versions: str, cells: Counter[str]) -> str:
    named = [f"{cell}: {count}" for cell, count in cells.items()][:_MOST_CELLS]
    more = [f"{len(cells) - _MOST_CELLS} more"] if len(cells) > _MOST_CELLS else []
    return f"{cells.total()} with {versions} ({', '.join([*named, *more])})"
