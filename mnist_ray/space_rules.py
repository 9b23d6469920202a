"""The rules between the sections of a search space, beyond what each section may hold."""

import math

from mnist_ray.faults import Faults, shown, unknown
from mnist_ray.hyperparameters import kind_of
from mnist_ray.space_file import SEARCHABLE, Replication, SpaceFile

MOST_CELLS = 100_000


def check_rules(space: SpaceFile, faults: Faults) -> None:
    """Notes every fault of a space whose sections are each read already.

    What only follows from a section's own faults is not told again.
    """
    _one_kind_a_column(space, faults)
    _not_too_many_cells(space, faults)
    _search_and_distributions_belong_together(space, faults)
    _options_of_a_search_fit(space, faults)
    _precision_has_its_terms(space, faults)
    _difference_is_of_two_architectures(space, faults)


def _one_kind_a_column(space: SpaceFile, faults: Faults) -> None:
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
                    faults.add(
                        place,
                        f"{shown(value)} is of another kind ({kind}) than {key} of {shown(owner)} "
                        f"({known}), and they share a column; rename one, or use one kind",
                    )


def _not_too_many_cells(space: SpaceFile, faults: Faults) -> None:
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
        faults.add(
            ("architectures",), f"with all grids there are {cells} cells; allowed: {MOST_CELLS}"
        )


def _search_and_distributions_belong_together(space: SpaceFile, faults: Faults) -> None:
    if space.search and not space.sampled and not faults.within(SEARCHABLE):
        faults.add(
            ("search",),
            "has nothing to sample; give a hyperparameter a distribution, such as "
            "learning_rate: {loguniform: [1e-4, 1e-2]}, or leave search out",
        )
    for place, distribution in space.distributions.items():
        if distribution.sampled and space.search is None:
            faults.add(
                place,
                f"{distribution.key} is sampled, which needs a search; add search: {{algorithm: "
                "random, configurations: 20, trials_each: 3}, or use grid_search",
            )
        elif not distribution.sampled and space.sampled:
            faults.add(
                place,
                "a grid_search can't stand beside sampled distributions; use choice, to have it "
                "searched with them, or a space of its own",
            )


def _options_of_a_search_fit(space: SpaceFile, faults: Faults) -> None:
    if space.search is None:
        for key in ("confirm", "race", "early_stopping"):
            if getattr(space, key):
                faults.add((key,), f"needs a search, and there is none; add search or omit {key}")
        return
    if space.race and space.search.trials_each == 1:
        faults.add(("race",), "needs trials_each of at least 2: it compares means over trials")
    epochs = space.distributions.get(("training", "epochs"))
    if space.early_stopping and epochs is None and space.training.epochs == 1:
        faults.add(("early_stopping",), "needs training.epochs above 1: it stops between epochs")
    split = space.distributions.get(("training", "validation_split"))
    if 0.0 in (split.candidates().values() if split else [space.training.validation_split]):
        faults.add(
            ("training", "validation_split"),
            "got 0; allowed: a number above 0 where there is a search, since it chooses by "
            "validation accuracy",
        )


def _precision_has_its_terms(space: SpaceFile, faults: Faults) -> None:
    if faults.within(["trials", "until"]):
        return
    if not isinstance(space.trials, Replication):
        if space.until:
            faults.add(("until",), "needs bounds; write trials: {at_least: 5, at_most: 100}")
    elif not space.trials.until_ci95 and not space.until:
        faults.add(
            ("trials",), "lacks until_ci95, a half-width such as 0.002; or the key until beside it"
        )


def _difference_is_of_two_architectures(space: SpaceFile, faults: Faults) -> None:
    if space.until is None or faults.within(["architectures"]):
        return
    place = ("until", "difference")
    names = getattr(space.until, "difference", ())  # there is none where it could not be read
    for index, name in enumerate(names):
        if name not in space.architectures:
            faults.add((*place, index), unknown("architecture", name, space.architectures))
    if len(set(names)) == 1:
        faults.add(place, "names one architecture twice; allowed: two of them")
    if space.search:
        faults.add(("until",), "can't stand beside a search, whose cells are not known; omit one")
