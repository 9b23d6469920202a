"""What sweeps ran with, and in what they differ."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import JsonValue

from mnist_ray.analysis.numbers import duration
from mnist_ray.analysis.settings import shown_value
from mnist_ray.analysis.sweep_results import SweepResults

_MOST_VALUES = 10
_VERSIONS = ("Python", "TensorFlow", "Keras", "Ray", "NumPy")
_COMPARED_FACTS = ("fingerprint of the data", *_VERSIONS, "device", "threads of a trial")


def provenance(results: SweepResults) -> dict[str, str]:
    """What a sweep ran with, by name; what is not known is left out."""
    cells = (*results.cells, *results.searched)
    records = [record for cell in cells for record in cell.records]
    settings = [record.setting for record in records if record.setting]
    versions = [setting.versions for setting in settings]
    starts = sorted(setting.started_at for setting in settings)
    training = sum(record.costs.train_seconds or 0.0 for record in records)
    known = {
        "data set": results.dataset,
        "fingerprint of the data": _distinct(record.identity["data"] for record in records),
        "test images": f"{len(results.test_set.labels):,}" if results.test_set else "",
        "seed of the sweep": _distinct(record.identity["seed"] for record in records),
        "seeds of the trials": _distinct(record.trial_seed for record in records),
        **{
            name: _distinct(getattr(each, f"{name.lower()}_version") for each in versions)
            for name in _VERSIONS
        },
        "commit": _distinct(setting.git_commit for setting in settings if setting.git_commit),
        "machine": _distinct(setting.node for setting in settings),
        "device": _distinct(setting.device for setting in settings),
        "threads of a trial": _distinct(setting.threads for setting in settings),
        "first start": f"{starts[0]:%Y-%m-%d %H:%M} UTC" if starts else "",
        "last start": f"{starts[-1]:%Y-%m-%d %H:%M} UTC" if starts else "",
        "time of training": f"{duration(training)} in all",
        "protocol": _distinct(record.identity["protocol"] for record in records),
    }
    return {name: value for name, value in known.items() if value}


def differences(sweeps: Sequence[SweepResults]) -> dict[str, list[str]]:
    """What differs between sweeps: by its name, the value in each; empty where there is none.

    That is the keys of their search spaces, the data, the versions and the devices.
    """
    known = [dict(_compared(results)) for results in sweeps]
    names = dict.fromkeys(name for each in known for name in each)
    values = {name: [each.get(name, "") for each in known] for name in names}
    return {name: each for name, each in values.items() if len(set(each)) > 1}


def _compared(results: SweepResults) -> Iterator[tuple[str, str]]:
    if results.space:
        # The page names sweeps by their folders.
        space = {key: value for key, value in results.space.to_data().items() if key != "name"}
        yield from _leaves(space, ())
    known = provenance(results)
    yield from ((name, known[name]) for name in _COMPARED_FACTS if name in known)


def _leaves(data: Mapping[str, JsonValue], place: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*place, key))
        else:
            yield ".".join((*place, key)), shown_value(value)


def _distinct(values: Iterable[object]) -> str:
    """The different values in order of appearance, the first few."""
    seen = list(dict.fromkeys(str(value) for value in values))
    more = f" and {len(seen) - _MOST_VALUES} more" if len(seen) > _MOST_VALUES else ""
    return ", ".join(seen[:_MOST_VALUES]) + more
