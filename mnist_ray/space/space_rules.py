"""The rules between the sections of a search space, beyond what each section may hold."""

import math

from mnist_ray.space.error_collector import ErrorCollector, shown, unknown
from mnist_ray.space.hyperparameters import kind_of
from mnist_ray.space.space_file import SEARCHABLE, SpaceFile, StoppingRule

MOST_CELLS = 100_000


def check_rules(space: SpaceFile, errors: ErrorCollector) -> None:
    """Notes every fault of a space whose sections are each read already.

    What only follows from a section's own faults is not told again.
    """
    _one_kind_a_column(space, errors)
    _not_too_many_cells(space, errors)
    _search_and_distributions_belong_together(space, errors)
    _options_of_a_search_fit(space, errors)
    _precision_has_its_terms(space, errors)
    _difference_is_of_two_architectures(space, errors)


def _one_kind_a_column(space: SpaceFile, errors: ErrorCollector) -> None:
    """A column of the tables holds values of one kind, whichever architectures they are of."""
    first: dict[str, tuple[str, str]] = {}
    for name, architecture in space.architectures.items():
        for key, fixed in architecture.hyperparameters.to_data().items():
            place = ("architectures", name, key)
            searched = space.distributions.get(place)
            for value in searched.candidates().values() if searched else [fixed]:
                kind = kind_of(value)
                if kind is None:
                    continue
                known, owner = first.setdefault(key, (kind, name))
                if not (kind.startswith(known) or known.startswith(kind)):  # [] goes with any list
                    errors.add(
                        place,
                        f"{shown(value)} is of another kind ({kind}) than {key} of {shown(owner)} "
                        f"({known}), and they share a column; rename one, or use one kind",
                    )


def _not_too_many_cells(space: SpaceFile, errors: ErrorCollector) -> None:
    def combinations(*section: str) -> int:
        return math.prod(
            len(distribution.candidates())
            for place, distribution in space.distributions.items()
            if place[:-1] == section and not distribution.sampled
        )

    architectures = sum(combinations("architectures", name) for name in space.architectures)
    variants = sum(combinations("variants", name) for name in space.variants)
    cells = architectures * variants * combinations("training")
    if cells > MOST_CELLS:
        errors.add(
            ("architectures",), f"with all grids there are {cells} cells; allowed: {MOST_CELLS}"
        )


def _search_and_distributions_belong_together(space: SpaceFile, errors: ErrorCollector) -> None:
    if space.search and not space.sampled and not errors.within(SEARCHABLE):
        errors.add(
            ("search",),
            "has nothing to sample; give a hyperparameter a distribution, such as "
            "learning_rate: {loguniform: [1e-4, 1e-2]}, or leave search out",
        )
    for place, distribution in space.distributions.items():
        if distribution.sampled and space.search is None:
            errors.add(
                place,
                f"{distribution.kind} is sampled, which needs a search; add search: {{algorithm: "
                "random, configurations: 20, trials_each: 3}, or use grid_search",
            )
        elif not distribution.sampled and space.sampled:
            errors.add(
                place,
                "a grid_search can't stand beside sampled distributions; use choice, to have it "
                "searched with them, or a space of its own",
            )


def _options_of_a_search_fit(space: SpaceFile, errors: ErrorCollector) -> None:
    if space.search is None:
        for key in ("confirm", "race", "early_stopping"):
            if getattr(space, key):
                errors.add((key,), f"needs a search, and there is none; add search or omit {key}")
        return
    if space.race and space.search.trials_each == 1:
        errors.add(("race",), "needs trials_each of at least 2: it compares means over trials")
    epochs = space.distributions.get(("training", "epochs"))
    if space.early_stopping and epochs is None and space.training.epochs == 1:
        errors.add(("early_stopping",), "needs training.epochs above 1: it stops between epochs")
    split = space.distributions.get(("training", "validation_split"))
    if 0.0 in (split.candidates().values() if split else [space.training.validation_split]):
        errors.add(
            ("training", "validation_split"),
            "got 0; allowed: a number above 0 where there is a search, since it chooses by "
            "validation accuracy",
        )


def _precision_has_its_terms(space: SpaceFile, errors: ErrorCollector) -> None:
    if errors.within(["trials", "until"]):
        return
    if not isinstance(space.trials, StoppingRule):
        if space.until:
            errors.add(("until",), "needs bounds; write trials: {at_least: 5, at_most: 100}")
    elif not space.trials.until_ci95 and not space.until:
        errors.add(
            ("trials",), "lacks until_ci95, a half-width such as 0.002; or the key until beside it"
        )


def _difference_is_of_two_architectures(space: SpaceFile, errors: ErrorCollector) -> None:
    if space.until is None or errors.within(["architectures"]):
        return
    place = ("until", "difference")
    names = getattr(space.until, "difference", ())  # there is none where it could not be read
    for index, name in enumerate(names):
        if name not in space.architectures:
            errors.add((*place, index), unknown("architecture", name, space.architectures))
    if len(set(names)) == 1:
        errors.add(place, "names one architecture twice; allowed: two of them")
    if space.search:
        errors.add(("until",), "can't stand beside a search, whose cells are not known; omit one")
