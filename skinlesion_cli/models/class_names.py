"""The names of the classes that a user gives with --classes."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import fault_of, read_text
from skinlesion_cli.common.limits import MAX_TEXT_BYTES
from skinlesion_cli.common.text import shortened


def list_of_classes(text: str | None) -> Path | None:
    """The file that `--classes` names; None if it names the classes themselves."""
    # A list of many classes is too long for the name of a file.
    return Path(text) if text and not fault_of(Path(text), MAX_TEXT_BYTES) else None


def read_class_names(text: str) -> list[str]:
    """The names in the file `text`, one per line, or those that `text` separates by commas.

    Raises:
        InputError: the file cannot be read, or a class is named twice.
    """
    path = list_of_classes(text)
    lines = read_text(path, "the classes in ").splitlines() if path else text.split(",")
    return list(distinct_names([line.strip() for line in lines if line.strip()]))


def distinct_names(classes: Sequence[str] | None) -> tuple[str, ...]:
    """The names given with --classes; InputError if one is given twice."""
    for name, number in Counter(classes or ()).items():
        if number > 1:
            raise InputError(
                f"--classes names {shortened(name)} {number} times; each class needs its own name"
            )
    return tuple(classes or ())
