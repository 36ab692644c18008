"""Folders of images: which files in them are images, and what is reported about the others."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.events import Note, OnEvent, Warned
from skinlesion_cli.common.text import folded, printable
from skinlesion_cli.data.suffixes import IMAGE_SUFFIXES, UNREAD_SUFFIXES, has_image_suffix

# In lower case: network storage, Windows, macOS.
SYSTEM_NAMES = {"@eadir", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "thumbs.db", "__macosx"}


def list_classes(
    root: Path, classes: Sequence[str], on_event: OnEvent, *, complete: bool = True
) -> dict[str, tuple[list[Path], list[Path]]]:
    """The images and the other files in each class folder of `root`, relative to it; events name the latter.

    InputError if a folder cannot be listed, or (`complete`) a class has no images.
    """
    entries = list(root.iterdir())
    skipped = sum(is_skipped(one.name) for one in entries)
    found = {}
    for name in classes:
        images, others, hidden = list_files(root, name)
        if not images and complete:
            raise InputError(
                f"{root / name} contains no images{only_others(others)}; add some, or remove the folder"
            )
        found[name] = images, others
        skipped += hidden
    tell_skipped(root, skipped, on_event)
    tell_left_out(str(root), [file for _, others in found.values() for file in others], on_event)
    beside = [Path(one.name) for one in entries if one.is_file() and not is_skipped(one.name)]
    tell_left_out(f"{root}, beside the class folders", beside, on_event)
    return found


def class_folders(root: Path) -> list[str]:
    """Names of the folders in `root`, sorted, without skipped ones; InputError if two are alike."""
    try:
        names = sorted(one.name for one in root.iterdir() if one.is_dir() and not is_skipped(one.name))
    except OSError as error:
        raise InputError(f"cannot list {root}: {error.strerror}") from None
    refuse_alike(names, f"{root}: the folders")
    return names


def is_skipped(name: str) -> bool:
    """Whether a file or folder is hidden, or one that a system adds, such as thumbnails or a recycle bin."""
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def list_files(root: Path, folder: str = "") -> tuple[list[Path], list[Path], int]:
    """The images, by their suffix, and the other files in `root/folder` and below, and the number skipped.

    Both are sorted, and relative to `root`. Linked folders are followed, and no folder is entered twice.
    InputError if a folder cannot be listed.
    """
    images: list[Path] = []
    others: list[Path] = []
    skipped = 0
    top = Path(os.path.realpath(root / folder))
    # A link to a folder that was entered, or to one around it, would repeat images or never end.
    entered = {str(one) for one in (top, *top.parents)}
    for where, folders, names in os.walk(root / folder, onerror=_refuse_unlisted, followlinks=True):
        skipped += sum(map(is_skipped, (*folders, *names)))
        real: dict[str, str] = {}
        for name in sorted(name for name in folders if not is_skipped(name)):
            real.setdefault(os.path.realpath(Path(where, name)), name)
        folders[:] = [name for one, name in real.items() if one not in entered]
        entered |= real.keys()
        for name in sorted(name for name in names if not is_skipped(name)):
            path = Path(where, name).relative_to(root)
            (images if has_image_suffix(path) else others).append(path)
    return images, others, skipped


def _refuse_unlisted(error: OSError) -> None:
    # If it were skipped, its images would silently be missing from a score.
    raise InputError(f"cannot list {error.filename}: {error.strerror}")


def tell_skipped(where: Path, number: int, on_event: OnEvent) -> None:
    """Say how many entries `is_skipped` left out."""
    if number:
        on_event(Note(f"{where}: {number} hidden or system files and folders are skipped"))


def tell_left_out(where: str, files: Sequence[Path], on_event: OnEvent) -> None:
    """Say how many files are left out, and of which types; a warning if some are images."""
    if files:
        text = f"{where}: {len(files)} files are left out: {kinds_of(files)}"
        suffixes = {file.suffix.lower() for file in files}
        if suffixes & UNREAD_SUFFIXES:
            on_event(Warned(f"{text}; convert images to JPEG or PNG to use them"))
        else:
            on_event((Warned if suffixes & IMAGE_SUFFIXES else Note)(text))


def kinds_of(files: Iterable[Path]) -> str:
    """The suffixes of files and how often each occurs, the most frequent first: `.heic (3), .txt (1)`."""
    kinds = Counter(printable(file.suffix.lower()) or "no suffix" for file in files)
    return first_few([f"{kind} ({number})" for kind, number in kinds.most_common()], 8)


def only_others(others: Sequence[Path]) -> str:
    """For an error where there is no image: the other files that are there."""
    return f", only files that are not read: {kinds_of(others)}" if others else ""


def refuse_alike(names: Iterable[str], what: str) -> None:
    """Refuse class names that differ only in case, or in their Unicode form."""
    seen: dict[str, str] = {}
    for name in sorted(names):
        other = seen.setdefault(folded(name), name)
        if other != name:
            # Their letters look the same.
            same = unicodedata.normalize("NFC", other) == unicodedata.normalize("NFC", name)
            both = f"Unicode form ({other!a}, {name!a})" if same else "case"
            raise InputError(f"{what} {other!r} and {name!r} differ only in their {both}; give them one name")
