"""The audit of a data set: what its folder holds, duplicates, groups that span splits, and the verdict."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import InputError, UnreadableImageError
from skinlesion_cli.common.events import OnEvent
from skinlesion_cli.common.settings import FIELDS
from skinlesion_cli.common.tables import Html, Tabular, html_table, html_text
from skinlesion_cli.common.text import nearest
from skinlesion_cli.curation.duplicates import DuplicateSearch
from skinlesion_cli.curation.families import connected_components
from skinlesion_cli.curation.fingerprint import Fingerprint
from skinlesion_cli.curation.groups import coverage_text, groups_of
from skinlesion_cli.curation.kept_fingerprints import kept_fingerprint
from skinlesion_cli.curation.label_check import LabelCheck
from skinlesion_cli.data.folders import class_folders, list_classes, refuse_alike
from skinlesion_cli.data.framing import cut_by_crop
from skinlesion_cli.data.images import stored_kind
from skinlesion_cli.data.splits import (
    SPLITS,
    count_labels,
    is_table,
    one_class_fault,
    require_folder,
)
from skinlesion_cli.data.table import read_data_table
from skinlesion_cli.data.workers import map_files

UNSPLIT = "all"
"""Name of the only split of a folder that has class folders and no split folders."""


@dataclass(frozen=True)
class ImageRecord:
    """One readable image."""

    file: str
    """Relative to the data set's folder, with `/`."""
    split: str
    label: str
    size: tuple[int, int]
    """Width and height in pixels, as stored."""
    mode: str
    """Pillow's name of the stored pixel format: RGB, L, CMYK, …"""
    group: str | None = None
    """Its lesion or patient, where that is known."""
    profile: str = ""
    """Its colour profile, if it is converted to sRGB (see `profile_name`)."""


@dataclass(frozen=True)
class Inventory:
    """What the folder of a data set holds."""

    root: Path
    images: tuple[ImageRecord, ...]
    unreadable: dict[str, str]
    """Each unreadable file, and why."""
    not_images: tuple[str, ...]
    """Files in class folders that do not have the suffix of an image."""
    remarks: tuple[str, ...]
    """Empty class folders, a split of one class, and classes that are missing or misspelt in a split."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of readable images per class, per split."""
        return count_labels((image.split, image.label) for image in self.images)

    def profiles(self) -> dict[str, int]:
        """Number of images per colour profile that is converted to sRGB, or `damaged` and ignored."""
        return dict(Counter(image.profile for image in self.images if image.profile).most_common())

    def cut_by_crop(self) -> dict[str, float] | None:
        """How many images lose more than a quarter of their area to the centre crop (see `framing`)."""
        return cut_by_crop([image.size for image in self.images], FIELDS["img_size"].default)

    @property
    def one_class(self) -> bool:
        """Whether all images have one class, so that there is nothing to tell apart."""
        return len({image.label for image in self.images}) == 1


@dataclass(frozen=True)
class PairFound:
    """Two files that show one photograph."""

    a: ImageRecord
    b: ImageRecord
    kind: str
    """`bytes`, `pixels` or `near`."""

    @property
    def across_splits(self) -> bool:
        """Whether the two files are in different splits."""
        return self.a.split != self.b.split

    @property
    def same_class(self) -> bool:
        """Whether the two files have the same label."""
        return self.a.label == self.b.label


@dataclass(frozen=True)
class Audit(Tabular):
    """The result of an audit."""

    inventory: Inventory
    pairs: tuple[PairFound, ...]
    """Pairs with different labels first, then pairs across splits."""
    families: tuple[tuple[ImageRecord, ...], ...]
    """Files that show one photograph, two or more per family."""
    groups_across_splits: tuple[str, ...]
    test_images: int
    test_with_sibling_in_train: int
    coverage: str = ""
    """How many images have a group, in one line."""
    labels: LabelCheck | None = None
    """Which labels to look at again; None without predictions."""

    @property
    def leaking(self) -> bool:
        """Whether a photograph or a group is in more than one split."""
        return bool(self.groups_across_splits) or any(len(_splits(family)) > 1 for family in self.families)

    def verdict(self) -> str:
        """The finding in one sentence."""
        leaked = self.test_with_sibling_in_train
        other = ", but other splits share photographs or groups" if self.leaking and not leaked else ""
        grouped = [image.group is not None for image in self.inventory.images]
        return verdict_of(leaked, self.test_images, grouped, other)

    def rows(self) -> list[dict[str, Any]]:
        """One row per pair: `a`, `b`, `kind`, `across_splits`, `same_class`."""
        return [
            {"a": pair.a.file, "b": pair.b.file, "kind": pair.kind}
            | {"across_splits": pair.across_splits, "same_class": pair.same_class}
            for pair in self.pairs
        ]

    def _repr_html_(self) -> str:
        found = html_table(self.rows()) if self.pairs else Html()
        return f"<p>{html_text(self.verdict())}</p>{found}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON document that `data check --json` prints."""
        return {
            "images": len(self.inventory.images),
            "splits": self.inventory.counts(),
            "unreadable": sorted(self.inventory.unreadable),
            "families": [[image.file for image in family] for family in self.families],
            "pairs": self.rows(),
            "groups_across_splits": list(self.groups_across_splits),
            "images_with_group": {
                split: sum(image.split == split and bool(image.group) for image in self.inventory.images)
                for split in self.inventory.counts()
            },
            "colour_profiles": self.inventory.profiles(),
            "cut_by_crop": self.inventory.cut_by_crop(),
            "test_images": self.test_images,
            "test_with_sibling_in_train": self.test_with_sibling_in_train,
            "leaking": self.leaking,
            "labels": self.labels and self.labels.to_dict(),
            "not_images": list(self.inventory.not_images),
            "remarks": list(self.inventory.remarks),
            "verdict": self.verdict(),
        }


def verdict_of(leaked: int, test_images: int, grouped: Sequence[bool], other: str = "") -> str:
    """The sentence on `leaked` of the test images; `grouped` tells whether each image's group is known."""
    if not test_images:
        return f"there is no test split{other}."
    share = f"{100 * leaked / test_images:.1f} %"
    text = f"{leaked} of {test_images} test images ({share}) have a sibling in train"
    unknown = grouped.count(False)
    if unknown == len(grouped):
        return f"{text} by pixels{other}; lesions and patients are unknown."
    rest = f"; the lesion or patient of {unknown} of {len(grouped)} images is unknown" if unknown else ""
    return f"{text}{other}{rest}."


def audit_folder(
    root: Path,
    groups: Mapping[str, str],
    table: Path | None,
    near: bool,
    workers: int,
    on_event: OnEvent,
    images_root: Path | None = None,
) -> Audit:
    """Read every image of a data set once, and look for photographs and groups in more than one split.

    `groups` are those of `read_groups`; with `table`, one must match an image. If the data set is a table
    and there is no other, they are its own. The rest is as in `api.audit`.
    """
    listed = _list_table(root, images_root, on_event) if is_table(root) else _list_folder(root, on_event)
    groups = groups if table else {**groups, **listed.groups}
    with DuplicateSearch(near, workers, on_event) as search:
        inventory = _read_all(listed, groups, table, near, workers, on_event, search)
        pairs = search.pairs()
    images = inventory.images
    found = [PairFound(images[pair.a], images[pair.b], pair.kind) for pair in pairs]
    components = connected_components(len(images), [(pair.a, pair.b) for pair in pairs])
    families = tuple(tuple(images[index] for index in component) for component in components)
    members: dict[str, list[ImageRecord]] = defaultdict(list)
    for image in images:
        if image.group:
            members[image.group].append(image)
    siblings = [one for one in (*families, *members.values()) if "train" in _splits(one)]
    leaked = {image.file for one in siblings for image in one if image.split == "test"}
    return Audit(
        inventory=inventory,
        pairs=tuple(sorted(found, key=lambda pair: (pair.same_class, not pair.across_splits))),
        families=families,
        groups_across_splits=tuple(sorted(group for group, one in members.items() if len(_splits(one)) > 1)),
        test_images=sum(image.split == "test" for image in images),
        test_with_sibling_in_train=len(leaked),
        coverage=coverage_text([(image.split, image.file, image.group) for image in images], groups),
    )


def _splits(images: Iterable[ImageRecord]) -> set[str]:
    return {image.split for image in images}


@dataclass(frozen=True)
class _Listed:
    """The files of a data set, before they are read."""

    root: Path
    files: list[tuple[str, str, str]]
    """File, split and class of each image."""
    classes: dict[str, list[str]]
    """Of each split."""
    groups: Mapping[str, str]
    not_images: list[str]
    remarks: list[str]


def _list_table(path: Path, images_root: Path | None, on_event: OnEvent) -> _Listed:
    table = read_data_table(path, images_root, on_event)
    names = [name for name in SPLITS if table.counts[name]] if table.has_splits else [UNSPLIT]
    splits = {name: table.split(name if table.has_splits else "test") for name in names}
    found = [
        (file.as_posix(), name, one.classes[label])
        for name, one in splits.items()
        for file, label in zip(one.files, one.labels, strict=True)
    ]
    classes = {name: list(one.classes) for name, one in splits.items()}
    remarks = [
        f"{split}: {fault}" for split, names in classes.items() if (fault := one_class_fault(path, names))
    ]
    return _Listed(table.root, found, classes, table.groups, [], [*remarks, *_missing_classes(classes)])


def _list_folder(root: Path, on_event: OnEvent) -> _Listed:
    require_folder(root, None)
    splits = {name: root / name for name in SPLITS if (root / name).is_dir()} or {UNSPLIT: root}
    classes = {split: class_folders(folder) for split, folder in splits.items()}
    if not any(classes.values()):
        raise InputError(f"{root} has no class folders; each class is a folder of images")
    refuse_alike(set().union(*classes.values()), f"{root}: the class folders")
    found: list[tuple[str, str, str]] = []
    not_images: list[str] = []
    remarks: list[str] = []
    for split, folder in splits.items():
        prefix = folder.relative_to(root)
        fault = one_class_fault(folder, classes[split])
        # A folder around the class folders, not a class.
        if fault and class_folders(folder / classes[split][0]):
            raise InputError(fault)
        remarks += filter(None, [fault])
        for label, (files, others) in list_classes(folder, classes[split], on_event, complete=False).items():
            found += [((prefix / file).as_posix(), split, label) for file in files]
            not_images += [(prefix / file).as_posix() for file in others]
            remarks += [] if files else [f"{split}/{label} holds no images"]
    return _Listed(root, found, classes, {}, sorted(not_images), [*remarks, *_missing_classes(classes)])


def _read_all(
    listed: _Listed,
    groups: Mapping[str, str],
    table: Path | None,
    near: bool,
    workers: int,
    on_event: OnEvent,
    search: DuplicateSearch,
) -> Inventory:
    """The inventory of a data set; `search` is given each of its readable images."""
    root, found = listed.root, listed.files
    known = groups_of(groups, [file for file, _, _ in found], root, table)
    images: list[ImageRecord] = []
    unreadable = {}
    read = partial(_read, near, search.store)
    results = map_files(read, [root / file for file, _, _ in found], workers, on_event)
    for (file, split, label), group, result in zip(found, known, results, strict=True):
        if isinstance(result, str):
            unreadable[file] = result
        else:
            size, mode, profile, one = result
            images.append(ImageRecord(file, split, label, size, mode, group, profile))
            search.add(root / file, one)
    return Inventory(root, tuple(images), unreadable, tuple(listed.not_images), tuple(listed.remarks))


def _read(near: bool, store: Path | None, path: Path) -> tuple[tuple[int, int], str, str, Fingerprint] | str:
    """Stored size, pixel format, profile and fingerprint of an image, or why it cannot be read."""
    try:
        return *stored_kind(path), kept_fingerprint(path, store, near=near)
    except UnreadableImageError as error:
        return str(error)


def _missing_classes(classes: Mapping[str, list[str]]) -> Iterator[str]:
    everywhere = set().union(*classes.values())
    common = everywhere.intersection(*classes.values())
    for split, names in classes.items():
        for missing in sorted(everywhere - set(names)):
            yield f"{split} has no class {missing!r}{nearest(missing, set(names) - common)}"
