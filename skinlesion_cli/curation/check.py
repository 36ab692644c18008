"""The audit of a data set: duplicates, groups that span splits, and the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.curation.duplicates import families, find_duplicates
from skinlesion_cli.curation.groups import group_of
from skinlesion_cli.curation.inventory import ImageRecord, Inventory


@dataclass(frozen=True)
class PairFound:
    """Two files that show one photograph."""

    a: ImageRecord
    b: ImageRecord
    kind: str
    """bytes, pixels or near."""

    @property
    def across_splits(self) -> bool:
        """Whether they stand on two sides."""
        return self.a.split != self.b.split

    @property
    def same_class(self) -> bool:
        """Whether their labels agree."""
        return self.a.label == self.b.label


@dataclass(frozen=True)
class Audit:
    """What an audit found."""

    inventory: Inventory
    pairs: tuple[PairFound, ...]
    """Disagreeing labels first, then those across splits."""
    families: tuple[tuple[ImageRecord, ...], ...]
    """Files that show one photograph, two or more."""
    groups_across_splits: tuple[str, ...]
    test_images: int
    test_with_sibling_in_train: int

    @property
    def leaking(self) -> bool:
        """Whether a photograph or a group stands on two sides."""
        return bool(self.groups_across_splits) or any(
            len({image.split for image in family}) > 1 for family in self.families
        )

    def verdict(self) -> str:
        """The finding in one sentence."""
        if self.test_images:
            share = 100 * self.test_with_sibling_in_train / self.test_images
            text = (
                f"{self.test_with_sibling_in_train} of {self.test_images} test images ({share:.1f} %) have a "
                "sibling in train"
            )
        else:
            text = "there is no test split"
        if self.leaking and not self.test_with_sibling_in_train:
            text += ", but other splits share photographs or groups"
        return text + "."

    def to_json(self) -> dict[str, Any]:
        """The document of `data check --json`."""
        return {
            "images": len(self.inventory.images),
            "splits": self.inventory.counts(),
            "unreadable": sorted(self.inventory.unreadable),
            "families": [[image.file for image in family] for family in self.families],
            "pairs": [
                {
                    "a": pair.a.file,
                    "b": pair.b.file,
                    "kind": pair.kind,
                    "across_splits": pair.across_splits,
                    "same_class": pair.same_class,
                }
                for pair in self.pairs
            ],
            "groups_across_splits": list(self.groups_across_splits),
            "test_images": self.test_images,
            "test_with_sibling_in_train": self.test_with_sibling_in_train,
            "leaking": self.leaking,
            "not_images": list(self.inventory.not_images),
            "remarks": list(self.inventory.remarks),
            "verdict": self.verdict(),
        }


def audit(
    inventory: Inventory,
    groups: Mapping[str, str],
    *,
    near: bool = True,
    workers: int = 1,
    on_event: OnEvent = ignore,
) -> Audit:
    """Look for photographs and groups that stand on two sides.

    Args:
        inventory: the data set.
        groups: as `read_groups` gives them; may be empty.
        near: look for changed copies as well.
        workers: processes that read images.
        on_event: is told of the progress.
    """
    images = inventory.images
    paths = [inventory.root / image.file for image in images]
    pairs = find_duplicates(paths, near=near, workers=workers, on_event=on_event)
    found = [PairFound(images[pair.a], images[pair.b], pair.kind) for pair in pairs]
    of_families = families(len(images), pairs)
    by_group: dict[str, list[int]] = {}
    for position, image in enumerate(images):
        group = group_of(groups, image.file)
        if group is not None:
            by_group.setdefault(group, []).append(position)
    siblings = [*of_families, *by_group.values()]
    leaked = {
        position
        for together in siblings
        if any(images[other].split == "train" for other in together)
        for position in together
        if images[position].split == "test"
    }
    return Audit(
        inventory=inventory,
        pairs=tuple(sorted(found, key=lambda pair: (pair.same_class, not pair.across_splits))),
        families=tuple(tuple(images[position] for position in family) for family in of_families),
        groups_across_splits=tuple(
            sorted(
                group
                for group, together in by_group.items()
                if len({images[one].split for one in together}) > 1
            )
        ),
        test_images=sum(image.split == "test" for image in images),
        test_with_sibling_in_train=len(leaked),
    )
