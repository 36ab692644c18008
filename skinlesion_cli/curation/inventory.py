"""What lies in a data set's folder: every image read in full, and what is amiss with files and folders."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skinlesion_cli.common.errors import InputError, UnreadableImageError
from skinlesion_cli.common.events import ImagesDone, OnEvent, ignore
from skinlesion_cli.common.text import nearest
from skinlesion_cli.data.images import has_image_suffix, read_image, stored_kind
from skinlesion_cli.data.splits import SPLITS, class_folders, find_images
from skinlesion_cli.data.workers import map_files

WHOLE = "all"
"""Name of the one split of a folder that has classes and no splits."""


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
    """Pillow's name of the pixels' kind, as stored: RGB, L, CMYK, …"""


@dataclass(frozen=True)
class Inventory:
    """All that was found."""

    root: Path
    images: tuple[ImageRecord, ...]
    unreadable: dict[str, str]
    """File and reason."""
    not_images: tuple[str, ...]
    """Files without an image's suffix inside class folders."""
    remarks: tuple[str, ...]
    """Empty folders, and classes that are missing or misspelt in a split."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Readable images of each class in each split."""
        counts: dict[str, dict[str, int]] = {}
        for image in self.images:
            of_split = counts.setdefault(image.split, {})
            of_split[image.label] = of_split.get(image.label, 0) + 1
        return counts


def take_inventory(root: Path, *, workers: int = 1, on_event: OnEvent = ignore) -> Inventory:
    """Read every image below `root/SPLIT/CLASS/`, or below `root/CLASS/` where there are no splits.

    Args:
        root: the data set's folder.
        workers: processes that read images.
        on_event: is told of the progress.

    Raises:
        InputError: there is no such folder, or it holds no class folders.
    """
    if not root.is_dir():
        raise InputError(f"there is no folder {root}")
    splits = {name: root / name for name in SPLITS if (root / name).is_dir()} or {WHOLE: root}
    classes = {split: class_folders(folder) for split, folder in splits.items()}
    if not any(classes.values()):
        raise InputError(f"{root} has no class folders; each class is a folder of images")
    found = [
        (path, split, label)
        for split, folder in splits.items()
        for label in classes[split]
        for path in _images(folder / label)
    ]
    images, unreadable = [], {}
    results = map_files(_read, [path for path, _, _ in found], workers)
    for done, ((path, split, label), (size, mode, fault)) in enumerate(
        zip(found, results, strict=True), start=1
    ):
        file = path.relative_to(root).as_posix()
        if fault:
            unreadable[file] = fault
        else:
            images.append(ImageRecord(file, split, label, size, mode))
        on_event(ImagesDone("reading", done, len(found)))
    others = sorted(
        path.relative_to(root).as_posix()
        for split, folder in splits.items()
        for label in classes[split]
        for path in (folder / label).rglob("*")
        if path.is_file() and not path.name.startswith(".") and not has_image_suffix(path)
    )
    filled = {(split, label) for _, split, label in found}
    empty = [(split, label) for split in splits for label in classes[split] if (split, label) not in filled]
    remarks = [f"{split}/{label} holds no images" for split, label in empty]
    remarks += _class_remarks(classes)
    return Inventory(root, tuple(images), unreadable, tuple(others), tuple(remarks))


def _images(folder: Path) -> list[Path]:
    try:
        return find_images([str(folder)])
    except InputError:
        return []


def _read(path: Path) -> tuple[tuple[int, int], str, str]:
    try:
        read_image(path)
        return *stored_kind(path), ""
    except UnreadableImageError as error:
        return (0, 0), "", str(error)


def _class_remarks(classes: dict[str, list[str]]) -> Iterator[str]:
    everywhere = set().union(*classes.values())
    for split, names in classes.items():
        for missing in sorted(everywhere - set(names)):
            yield f"{split} has no class {missing!r}{nearest(missing, set(names) - _common(classes))}"


def _common(classes: dict[str, list[str]]) -> set[str]:
    return set.intersection(*(set(names) for names in classes.values()))
