"""The rules between the sections of a search space, beyond what each section may hold."""

import math

from mnist_ray.space.distributions import Distribution
from mnist_ray.space.error_collector import ErrorCollector, Place, shown, unknown
from mnist_ray.space.hyperparameters import kind_of
from mnist_ray.space.settings import Settings
from mnist_ray.space.space_file import SpaceFile, StoppingRule

MOST_CELLS = 100_000
_SEARCHABLE: tuple[Place, ...] = (("architectures",), ("variants",), ("training",))


def check_rules(file: SpaceFile, errors: ErrorCollector) -> None:
    """Notes every error of a file whose sections have been read, each by itself.

    What only follows from a section's own errors is not reported again.
    """
    _one_kind_a_column(file, errors)
    _not_too_many_cells(file, errors)
    _search_and_distributions_belong_together(file, errors)
    _options_of_a_search_fit(file, errors)
    _precision_has_its_terms(file, errors)
    _difference_is_of_two_architectures(file, errors)


def _one_kind_a_column(file: SpaceFile, errors: ErrorCollector) -> None:
    """A column of the tables holds values of one kind, whichever architectures they are of."""
    first: dict[str, tuple[str, str]] = {}
    for name, architecture in file.architectures.items():
        for key, given in architecture.hyperparameters:
            for value in _candidates(given):
                kind = kind_of(value)
                if kind is None:
                    continue
                known, owner = first.setdefault(key, (kind, name))
                if not (kind.startswith(known) or known.startswith(kind)):  # [] goes with any list
                    errors.add(
                        ("architectures", name, key),
                        f"{shown(value)} is of another kind ({kind}) than {key} of {shown(owner)} "
                        f"({known}), and they share a column; rename one, or use one kind",
                    )


def _candidates(given: object) -> list[object]:
    return list(given.candidates().values()) if isinstance(given, Distribution) else [given]


def _not_too_many_cells(file: SpaceFile, errors: ErrorCollector) -> None:
    def combinations(settings: Settings) -> int:
        grids = [each for each in settings.varied().values() if not each.sampled]
        return math.prod(len(grid.parameters) for grid in grids)

    architectures = sum(combinations(each.hyperparameters) for each in file.architectures.values())
    variants = sum(combinations(variant) for variant in file.variants.values())
    cells = architectures * variants * combinations(file.training)
    if cells > MOST_CELLS:
        errors.add(
            ("architectures",), f"with all grids there are {cells} cells; allowed: {MOST_CELLS}"
        )


def _search_and_distributions_belong_together(file: SpaceFile, errors: ErrorCollector) -> None:
    has_search = file.search is not None or errors.within(("search",))
    if file.search and not file.sampled and not errors.within(*_SEARCHABLE):
        errors.add(
            ("search",),
            "has nothing to sample; give a hyperparameter a distribution, such as "
            "learning_rate: {loguniform: [1e-4, 1e-2]}, or leave search out",
        )
    for place, distribution in file.distributions.items():
        if distribution.sampled and not has_search:
            errors.add(
                place,
                f"{distribution.kind} is sampled, which needs a search; add search: {{algorithm: "
                "random, configurations: 20, trials_each: 3}, or use grid_search",
            )
        elif not distribution.sampled and file.sampled:
            errors.add(
                place,
                "a grid_search can't stand beside sampled distributions; use choice, to have it "
                "searched with them, or a space of its own",
            )


def _options_of_a_search_fit(file: SpaceFile, errors: ErrorCollector) -> None:
    if file.search is None:
        if errors.within(("search",)):
            return
        for key in ("confirm", "race", "early_stopping"):
            if getattr(file, key):
                errors.add((key,), f"needs a search, and there is none; add search or omit {key}")
        return
    if file.race and file.search.trials_each == 1:
        errors.add(("race",), "needs trials_each of at least 2: it compares means over trials")
    is_one_epoch = file.training.epochs == 1 and not errors.within(("training", "epochs"))
    if file.early_stopping and is_one_epoch:
        errors.add(("early_stopping",), "needs training.epochs above 1: it stops between epochs")
    if 0.0 in _candidates(file.training.validation_split):
        errors.add(
            ("training", "validation_split"),
            "got 0; allowed: a number above 0 where there is a search, since it chooses by "
            "validation accuracy",
        )


def _precision_has_its_terms(file: SpaceFile, errors: ErrorCollector) -> None:
    if errors.within(("trials",), ("until",)):
        return
    if not isinstance(file.trials, StoppingRule):
        if file.until:
            errors.add(("until",), "needs bounds; write trials: {at_least: 5, at_most: 100}")
    elif not file.trials.until_ci95 and not file.until:
        errors.add(
            ("trials",), "lacks until_ci95, a half-width such as 0.002; or the key until beside it"
        )


def _difference_is_of_two_architectures(file: SpaceFile, errors: ErrorCollector) -> None:
    if file.search and (file.until or errors.within(("until",))):
        errors.add(("until",), "can't stand beside a search, whose cells are not known; omit one")
    if file.until is None or errors.within(("architectures",)):
        return
    place = ("until", "difference")
    names = file.until.difference
    for index, name in enumerate(names):
        if name not in file.architectures:
            errors.add((*place, index), unknown("architecture", name, file.architectures))
    if len(set(names)) == 1:
        errors.add(place, "names one architecture twice; allowed: two of them")
