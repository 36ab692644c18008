"""Finds the image files that a table names."""

import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from skinlesion_cli.common.limits import MAX_IMAGE_BYTES
from skinlesion_cli.data.folders import list_files
from skinlesion_cli.data.suffixes import has_image_suffix


class NamedFiles:
    """The files of a folder, found by their names in a table."""

    def __init__(self, root: Path):
        self.root = root
        self._stems: dict[Path, dict[str, list[Path]]] = {}

    def find(self, name: str, *, below: bool) -> list[Path]:
        """The files that a name matches, relative to the folder.

        It is tried as written, then in another Unicode form, then with the suffix of an image, then (`below`)
        in any subfolder.
        """
        forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
        forms = list(dict.fromkeys([name, *forms, name.replace("\\", "/")]))
        if exact := [Path(form) for form in forms if _is_file(self.root / form)]:
            return exact[:1]
        last = Path(name)
        if not has_image_suffix(last):
            for form in map(Path, forms):
                if found := self._listed(form.parent).get(unicodedata.normalize("NFC", form.name)):
                    return found
        if not below or last.parent != Path():
            return []
        key = unicodedata.normalize("NFC", last.stem if has_image_suffix(last) else last.name)
        return [file for file in self._below.get(key, []) if last.suffix in ("", file.suffix)]

    def _listed(self, folder: Path) -> dict[str, list[Path]]:
        """The images of a folder by their names without suffix."""
        if folder not in self._stems:
            try:
                names = sorted(os.listdir(self.root / folder))  # noqa: PTH208 - names only
            except (OSError, ValueError):
                names = []
            self._stems[folder] = _by_stem(folder / name for name in names)
        return self._stems[folder]

    @cached_property
    def _below(self) -> dict[str, list[Path]]:
        return _by_stem(list_files(self.root)[0])


def _by_stem(files: Iterable[Path]) -> dict[str, list[Path]]:
    found = defaultdict(list)
    for file in files:
        if has_image_suffix(file):
            found[unicodedata.normalize("NFC", file.stem)].append(file)
    return found


def _is_file(path: Path) -> bool:
    """Whether it is a regular file of a size that is read; False for an invalid name."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= MAX_IMAGE_BYTES
