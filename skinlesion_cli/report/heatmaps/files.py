"""The files that `gradcam` writes: chosen, and compared with the photographs, before any work."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import ensure_writable_folder, require_replaceable

FORMATS = (".png", ".jpg", ".jpeg", ".pdf", ".svg")
SHEET = "sheet.png"
TILES = 48
"""Maps per sheet."""


@dataclass(frozen=True)
class Files:
    """The files that will be written."""

    pictures: list[Path]
    """One per photograph; empty if they only go on sheets."""
    sheets: list[Path]
    """As many as may be needed; empty for a single photograph."""
    maps: list[Path]
    """One .npy per photograph; empty if not requested."""


def plan(images: Sequence[Path], out: str | None, *, tiles: int, npy: bool) -> Files:
    """Choose the files for photographs of at most `tiles` maps each.

    `out` is a figure, or a folder (existing or ending with a slash); None is the current folder.

    Raises:
        InputError: a name has an unknown suffix, is one of the photographs, or cannot be written.
    """
    single = len(images) == 1
    is_folder = out is not None and (Path(out).is_dir() or out.endswith(("/", os.sep)))
    folder = Path(out or "") if is_folder or out is None else Path(out).parent
    names = _names(images)
    pictures = [folder / f"{name}.png" for name in names] if single or is_folder else []
    sheet = Path(SHEET if out is None else out)
    sheets = [] if single else _numbered(folder / SHEET if is_folder else sheet, len(images) * tiles)
    if out is not None and not is_folder:
        if sheet.suffix.lower() not in FORMATS:
            raise InputError(
                f"--out {out}: a figure is a .png, .jpg, .pdf or .svg file; a folder's name must end with /"
            )
        pictures = [sheet] if single else []
    maps: list[Path] = []
    if npy:
        maps = [path.with_suffix(".npy") for path in pictures] or [folder / f"{name}.npy" for name in names]
    require_replaceable([*pictures, *sheets, *maps], images, "--out")
    ensure_writable_folder(folder)
    return Files(pictures, sheets, maps)


def _names(images: Sequence[Path]) -> list[str]:
    """A name for each photograph; photographs with the same name get numbers."""
    # Some file systems ignore case.
    names: dict[str, str] = {}
    for image in images:
        name, number = f"{image.stem}_gradcam", 1
        while name.casefold() in names:
            number += 1
            name = f"{image.stem}_gradcam-{number}"
        names[name.casefold()] = name
    return list(names.values())


def _numbered(sheet: Path, tiles: int) -> list[Path]:
    count = math.ceil(tiles / TILES)
    return [sheet, *(sheet.with_stem(f"{sheet.stem}-{number}") for number in range(2, count + 1))]
