"""The test sets that every trained model is graded on, beside its variant's own."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnist_ray.ledger.identity import JSON
from mnist_ray.ledger.record import Record
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.space.space import Space
from mnist_ray.space.variants import Presentation


@dataclass(frozen=True)
class VariantTest:
    """The test images as a variant presents them.

    They are identified by what they consist of: under another name they are the same test set.
    """

    name: str
    """The variant's, with what tells this test set from its others where it has a grid."""
    presentation: Presentation
    source: str | None = None
    """The digest of the transform's code."""

    @property
    def identity(self) -> JSON:
        return self.presentation.identity(self.source)


@dataclass(frozen=True)
class TestSets:
    """Test sets beside a variant's own."""

    __test__ = False  # Not a test case, whatever its name suggests to pytest.

    shifts: tuple[int, ...] = ()
    """Of the images of the model's own variant, in pixels."""
    variants: tuple[VariantTest, ...] = ()

    @property
    def code(self) -> dict[str, str | None]:
        """The digest of each transform's code, by its function."""
        found = ((test.presentation.transform, test.source) for test in self.variants)
        return {transform.function: source for transform, source in found if transform}

    def are_all_in(self, record: Record) -> bool:
        """Whether the trial was graded on each of them."""
        return all(record.evaluation(shift) is not None for shift in self.shifts) and all(
            record.evaluation(test.presentation.shift, test.identity) is not None
            for test in self.variants
        )


NO_OTHERS = TestSets()


def asked_test_sets(space: Space, dataset_info: DatasetInfo) -> TestSets:
    """Those that the space asks for."""
    if space.evaluate is None:
        return NO_OTHERS
    tests = []
    for variant in space.evaluate.names_of(space.variants):
        presentations = space.presentations(variant, dataset_info.image_shape)
        for name, each in zip(_names(variant, presentations), presentations, strict=True):
            function = each.transform.function if each.transform else ""
            tests.append(VariantTest(name, each, dataset_info.sources.get(function)))
    return TestSets(tuple(space.evaluate.shifts), tuple(tests))


def _names(variant: str, presentations: Sequence[Presentation]) -> list[str]:
    columns = [presentation.columns() for presentation in presentations]
    varying = [name for name in columns[0] if len({repr(each[name]) for each in columns}) > 1]
    return [
        f"{variant} ({', '.join(f'{name}={each[name]}' for name in varying)})"
        if varying
        else variant
        for each in columns
    ]
