"""The images that a user names on the command line: files, folders and globs."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Note, OnEvent, ignore
from skinlesion_cli.common.files import is_own_figure
from skinlesion_cli.data.folders import SYSTEM_NAMES, list_files, only_others, tell_left_out, tell_skipped
from skinlesion_cli.data.suffixes import has_image_suffix


def find_images(arguments: Sequence[str], on_event: OnEvent = ignore) -> list[Path]:
    """The image files that files, folders and globs name, in the order of the arguments.

    A file that is named explicitly is taken whatever its suffix; folders (searched recursively) and globs
    yield only images, and events report what is left out. InputError if an argument matches nothing, or a
    folder cannot be listed.
    """
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        # Unlike pathlib's, these are false for a name too long, or in a folder without access.
        is_folder, exists = os.path.isdir(path), os.path.exists(path)  # noqa: PTH110, PTH112
        others: list[Path] = []
        skipped = 0
        if is_folder:
            files, others, skipped = list_files(path)
            matches = [path / file for file in files]
        elif exists or not glob.has_magic(argument):
            matches = [path] if exists else []
        else:
            named = [Path(name) for name in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207
            named = [one for one in named if one.is_file()]
            own = {*path.parts}
            shown = [one for one in named if not SYSTEM_NAMES & {*map(str.casefold, {*one.parts} - own)}]
            skipped = len(named) - len(shown)
            matches = [one for one in shown if has_image_suffix(one)]
            others = [one for one in shown if not has_image_suffix(one)]
        if is_folder or not exists:
            figures = {match for match in matches if is_own_figure(match)}
            matches = [match for match in matches if match not in figures]
            if figures:
                on_event(
                    Note(f"{argument}: {len(figures)} figures of this tool, such as heat maps, are skipped")
                )
        if not matches:
            what = "image in" if is_folder or others else "file"
            raise InputError(f"there is no {what} {argument}{only_others(others)}")
        tell_skipped(path, skipped, on_event)
        tell_left_out(argument, others, on_event)
        found += matches
    return found
