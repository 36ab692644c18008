"""One pass over the images of a run before its first step: which can be read, their sizes and their hashes.

Each file is opened once. No torch here: an unreadable image is reported before the slow import of torch.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from skinlesion_cli.common.errors import InputError, UnreadableImageError, first_few
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.common.files import fault_of, write_text
from skinlesion_cli.common.limits import MAX_IMAGE_BYTES
from skinlesion_cli.common.paper import SHRINK_RATIO
from skinlesion_cli.data.file_hashes import Contents, hash_of
from skinlesion_cli.data.images import read_image, refuse_unreadable, upright_size
from skinlesion_cli.data.splits import Split
from skinlesion_cli.data.workers import map_files


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What one pass over an image file found."""

    size: tuple[int, int]
    """Width and height of the upright image, as `ShrunkPictures` decodes it."""
    sha256: str
    """See `hash_of`."""


@dataclass(frozen=True)
class Screening:
    """The splits of a run without their unreadable files."""

    splits: dict[str, Split]
    facts: dict[Path, ImageFacts]
    """By `Split.paths`."""
    unreadable: list[str]
    """One message for each file that was left out."""

    @cached_property
    def contents(self) -> Contents:
        """The hashes of all files of the splits; empty without facts."""
        return {
            name: {
                image: self.facts[path].sha256 for image, path in zip(split.names, split.paths, strict=True)
            }
            for name, split in self.splits.items()
            if self.facts
        }


def shorter_side(img_size: int) -> int:
    """Length that the shorter side of large training images is downscaled to, in pixels."""
    return round(SHRINK_RATIO * img_size)


def examine(path: Path, *, img_size: int, decode: bool = False) -> ImageFacts | str:
    """Open an image file once: its facts, or why it cannot be read; `decode` also finds truncated files."""
    if fault := fault_of(path, MAX_IMAGE_BYTES):
        return f"cannot read {path}: {fault}"
    try:
        with path.open("rb") as file:
            if decode:
                read_image(path, file=file)
            size = upright_size(path, shorter=shorter_side(img_size), file=file)
            return ImageFacts(size, hash_of(file))
    except UnreadableImageError as error:
        return str(error)
    except OSError as error:
        return f"cannot read {path}: {error.strerror or error}"


def screen(
    splits: Mapping[str, Split], *, img_size: int, skip: bool, workers: int, on_event: OnEvent = ignore
) -> Screening:
    """Open every image of the splits; InputError if a class is left without images.

    With `skip`, decode every image, in `workers` processes, and leave out the unreadable ones; otherwise read
    only the headers, and raise an UnreadableImageError for unreadable ones.
    """
    found = {
        name: list(
            map_files(partial(examine, img_size=img_size, decode=skip), split.paths, workers * skip, on_event)
        )
        for name, split in splits.items()
    }
    faults = [one for split in found.values() for one in split if isinstance(one, str)]
    if not skip:
        refuse_unreadable(faults)
    kept: dict[str, Split] = {}
    facts: dict[Path, ImageFacts] = {}
    for name, split in splits.items():
        readable = {
            path: one for path, one in zip(split.paths, found[name], strict=True) if not isinstance(one, str)
        }
        facts |= readable
        kept[name] = split_of(split, [path in readable for path in split.paths])
        if empty := [class_name for class_name, count in kept[name].counts.items() if count == 0]:
            fault = next(one for one in found[name] if isinstance(one, str))
            raise InputError(
                f"{split.where}: no image of {first_few(empty)} can be read ({fault}); "
                "add some, or remove the folder"
            )
    return Screening(kept, facts, faults)


def split_of(split: Split, keep: Sequence[bool]) -> Split:
    """The split with only the files for which `keep` is true."""
    files, labels = itertools.compress(split.files, keep), itertools.compress(split.labels, keep)
    return dataclasses.replace(split, files=tuple(files), labels=tuple(labels))


def write_unreadable(path: Path, faults: list[str]) -> None:
    """Write one line for each file that was left out; without any, remove an earlier run's list."""
    if faults:
        text = "".join(fault.encode("utf-8", "backslashreplace").decode() + "\n" for fault in faults)
        write_text(path, text)
    else:
        path.unlink(missing_ok=True)
