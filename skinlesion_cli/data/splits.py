"""Data sets as folders: `data/{train,val,test}/<Class>/…`, one folder a class."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.data.images import has_image_suffix

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """The labelled images of one split, class by class, each class in the order of its file names."""

    name: str
    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    """Under `root`, relative to it."""
    labels: tuple[int, ...]
    """Index into `classes` of each file."""
    left_out: int
    """Files without an image's suffix."""

    @property
    def counts(self) -> dict[str, int]:
        """Images of each class, in the order of `classes`."""
        counts = [0] * len(self.classes)
        for label in self.labels:
            counts[label] += 1
        return dict(zip(self.classes, counts, strict=True))

    @property
    def paths(self) -> list[Path]:
        """The files as they are opened."""
        return [self.root / file for file in self.files]


def read_split(data_root: Path, name: str) -> Split:
    """List one split.

    Raises:
        InputError: the folder, its classes or a class's images are missing.
    """
    if not data_root.is_dir():
        raise InputError(f"there is no folder {data_root}; name the data set's folder with --data")
    root = data_root / name
    if not root.is_dir():
        raise InputError(f"{data_root} has no {name}/ folder; each split is a folder with one folder a class")
    classes = class_folders(root)
    if not classes:
        raise InputError(f"{root} has no class folders; each class is a folder of images")
    files: list[Path] = []
    labels: list[int] = []
    left_out = 0
    for label, class_name in enumerate(classes):
        images, others = _images_below(root, class_name)
        if not images:
            raise InputError(f"{root / class_name} holds no images; add some, or remove the folder")
        files += images
        labels += [label] * len(images)
        left_out += others
    return Split(name, root, tuple(classes), tuple(files), tuple(labels), left_out)


def class_folders(root: Path) -> list[str]:
    """Names of the class folders below `root`, in alphabetical order; hidden ones are none.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        return sorted(
            entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
        )
    except OSError as error:
        raise InputError(f"cannot list {root}: {error.strerror}") from None


def read_splits(data_root: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Split]:
    """List several splits that must hold the same classes.

    Args:
        data_root: the data set's folder.
        names: splits that must be there.
        optional: splits that are taken when they are there.

    Raises:
        InputError: as `read_split`, or the classes of two splits differ.
    """
    splits = {name: read_split(data_root, name) for name in names}
    splits |= {name: read_split(data_root, name) for name in optional if (data_root / name).is_dir()}
    first = splits[names[0]]
    for split in splits.values():
        require_classes(split, first.classes, f"{first.root}")
    return splits


def require_classes(split: Split, classes: Sequence[str], owner: str) -> None:
    """Hold the classes of `split` against those of `owner`.

    Raises:
        InputError: they differ; the message names what is too much and what is missing.
    """
    extra = sorted(set(split.classes) - set(classes))
    missing = sorted(set(classes) - set(split.classes))
    if not extra and not missing:
        return
    faults = [f"only in {split.root}: {', '.join(extra)}"] if extra else []
    faults += [f"missing there: {', '.join(missing)}"] if missing else []
    raise InputError(
        f"{split.root} has {len(split.classes)} classes and {owner} has {len(classes)} "
        f"({'; '.join(faults)}); both need the same class folders"
    )


def find_images(arguments: Sequence[str]) -> list[Path]:
    """The image files that files, folders and globs name, in the order of the arguments.

    A file is taken whatever its suffix; of folders (with all below them) and globs, only images are.

    Raises:
        InputError: an argument names nothing.
    """
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        try:
            is_folder, is_there = path.is_dir(), path.exists()
        # Too long for a name, or in a folder that is closed to us.
        except (OSError, ValueError):
            is_folder = is_there = False
        if is_folder:
            matches = [path / file for file in _images_below(path, "")[0]]
        elif is_there or not glob.has_magic(argument):
            matches = [path] if is_there else []
        else:
            matches = [Path(name) for name in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207
            matches = [match for match in matches if match.is_file() and has_image_suffix(match)]
        if not matches:
            what = "no image in" if is_folder else "no file"
            raise InputError(f"there is {what} {argument}")
        found += matches
    return found


def evenly(paths: Sequence[Path], most: int) -> list[Path]:
    """At most `most` of the paths, spread evenly over all of them."""
    if len(paths) <= most:
        return list(paths)
    return [
        paths[(2 * index * (len(paths) - 1) + most - 1) // (2 * max(most - 1, 1))] for index in range(most)
    ]


def _raise_unlisted(error: OSError) -> None:
    # Passed over, a folder would be missing from a score without a word.
    raise InputError(f"cannot list {error.filename}: {error.strerror}")


def _images_below(root: Path, folder: str) -> tuple[list[Path], int]:
    images, others = [], 0
    # os.walk does not follow links to folders, so a circle of links cannot trap it.
    for where, folders, names in os.walk(root / folder, onerror=_raise_unlisted):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(where, name)
            if has_image_suffix(path):
                images.append(path.relative_to(root))
            else:
                others += 1
    return images, others
