"""The group of each image, which is a lesion or a patient, from a table or a manifest."""

import filecmp
import itertools
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from skinlesion_cli.common.csv_files import read_table
from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.text import folded, quoted
from skinlesion_cli.curation.families import merge_names
from skinlesion_cli.data.splits import SPLITS
from skinlesion_cli.data.suffixes import has_image_suffix
from skinlesion_cli.data.table_rows import IMAGE_COLUMNS, LESION_COLUMNS, MISSING, PATIENT_COLUMNS

# A path is more specific than a name.
NAME_COLUMNS = ("path", *IMAGE_COLUMNS)
# The ID that names a group comes first: a patient has several lesions.
GROUP_COLUMNS = (*PATIENT_COLUMNS, *LESION_COLUMNS, "group", "group_id")


def read_groups(path: Path) -> dict[str, str]:
    """Read the group of each image from a CSV file.

    The file may be the published metadata of HAM10000 or ISIC 2019, a `manifest.csv`, or any table with one
    of `NAME_COLUMNS` and one or more of `GROUP_COLUMNS`. Images that share any ID are one group; rows without
    an ID (see `MISSING`), or with an image's name as the ID, as `data split` writes it, are skipped. The keys
    are the names in the table, or `split/class/file` for a manifest. InputError if the file cannot be read,
    lacks the columns, or gives one image two groups.
    """
    names, rows = read_table(path, "the groups in ")
    columns = {name.strip().lower(): name for name in names} if rows else {}
    file_column = next((columns[name] for name in NAME_COLUMNS if name in columns), None)
    id_columns = [columns[name] for name in GROUP_COLUMNS if name in columns]
    if file_column is None or not id_columns:
        raise InputError(
            f"{path} needs a column for the file ({', '.join(IMAGE_COLUMNS[:5])}) and one for the group "
            "(patient_id, lesion_id, group)"
        )
    folder = [columns["split"], columns["class"]] if {"split", "class"} <= columns.keys() else []
    # In a manifest, an image without a lesion or patient has the name of an image as its group.
    own: set[str] = set()
    if folder:
        own = {f"{row[folder[1]]}/{row[file_column]}" for row in rows}
        alone = Counter(row[name] for row in rows for name in id_columns)
        stems = {Path(row[file_column]).stem for row in rows}
        own |= {name for name in stems if alone[name] == 1}
    images, ids = [], []
    for row in rows:
        known = [
            (name, row[name])
            for name in id_columns
            if row[name].casefold() not in MISSING and row[name] not in own
        ]
        if row[file_column] and known:
            images.append("/".join(row[name] for name in (*folder, file_column)))
            ids.append(known)
    groups: dict[str, str] = {}
    for image, group in zip(images, _joined(ids), strict=True):
        if groups.setdefault(image, group) != group:
            both = f"{quoted(groups[image])} and {quoted(group)}"
            raise InputError(f"{path}: {quoted(image)} is in the groups {both}")
    return groups


def _joined(ids: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    """The group of each row, from its IDs as (column, value): rows that share an ID are in one group."""
    columns_of = Counter(value for _, value in {one for row in ids for one in row})
    # Patient 7 and lesion 7 are not the same.
    names = [value if columns_of[value] == 1 else f"{column} {value}" for (column, value), *_ in ids]
    first: dict[tuple[str, str], int] = {}
    edges = [(first.setdefault(one, number), number) for number, row in enumerate(ids) for one in row]
    return merge_names(names, edges)


def groups_of(
    groups: Mapping[str, str],
    files: Sequence[str],
    root: Path | None = None,
    table: Path | None = None,
    what: str = "groups",
) -> list[str | None]:
    """The group of each image, from what `read_groups` returned; None if it has no group.

    The values may also be any other text about each image; `what` names it in messages.

    Names are compared with as many folders as possible, and finally without folders; each time with the
    suffix first, then without. What does not match is compared again, ignoring case. As soon as one name
    matches with its folder, all names with folders must: benign/1.jpg is not malignant/1.jpg. Files are
    relative to `root`, with `/`. InputError if a name matches several files that are not copies, names of
    different groups match one file, or no name of the `table` matches any file.
    """
    found: dict[int, str] = {}
    waiting = list(groups)
    deepest = max((file.count("/") + 1 for file in files), default=0)
    # Case is ignored only for names that match in no other way.
    for fold, depth, suffix in itertools.product((False, True), range(deepest, 0, -1), (True, False)):
        if depth == 1 and suffix and found:
            waiting = [name for name in waiting if not _ending(name, 2)]
        fitting = defaultdict(list)
        for number, file in enumerate(files):
            fitting[_ending(file, depth, suffix, fold)].append(number)
        claims: dict[int, str] = {}
        for name in waiting:
            hits = fitting.get(_ending(name, depth, suffix, fold) or "/", [])
            # If one of the files has a better match, the name does not belong to the others either.
            if found.keys().isdisjoint(hits):
                _refuse_ambiguous(name, [files[number] for number in hits], root, what)
                if clash := [hit for hit in hits if groups[claims.setdefault(hit, name)] != groups[name]]:
                    both = f"{quoted(claims[clash[0]])} and {quoted(name)}"
                    raise InputError(f"the {what} of {both} differ, and both fit the image {files[clash[0]]}")
        found |= {number: groups[name] for number, name in claims.items()}
    if table and files and not found:
        names = f"it names {quoted(next(iter(groups)))}, the files {files[0]}" if groups else "it has no IDs"
        raise InputError(f"{table} gives none of {len(files)} images a group: {names}{_hint(groups, files)}")
    return [found.get(number) for number in range(len(files))]


def _ending(name: str, depth: int, suffix: bool = True, fold: bool = False) -> str:
    """The last `depth` parts of a path in one Unicode form, with `fold` in one case; empty if too few."""
    parts = (folded(name) if fold else unicodedata.normalize("NFC", name)).replace("\\", "/").split("/")
    # "lesion.1" is a name without a suffix.
    parts[-1] = parts[-1] if suffix or not has_image_suffix(Path(parts[-1])) else Path(parts[-1]).stem
    return "/".join(parts[-depth:]) if len(parts) >= depth else ""


def _refuse_ambiguous(name: str, files: Sequence[str], root: Path | None, what: str) -> None:
    with suppress(OSError):
        if root and all(filecmp.cmp(root / files[0], root / file, shallow=False) for file in files[1:]):
            return
    if len(files) > 1:
        fits = f"{quoted(name)} in the table of {what} fits {first_few(files)}"
        raise InputError(f"{fits}; it needs the images' paths, such as {files[0]}")


def coverage_text(images: Sequence[tuple[str, str, str | None]], groups: Iterable[str]) -> str:
    """How many images (split, file, group) have a group, and the first without; `groups` are the table's."""
    if not any(group for _, _, group in images):
        return "lesions and patients are unknown; give a table of them with --groups FILE.csv"
    total, known = Counter(one[0] for one in images), Counter(one[0] for one in images if one[2])
    by_split = ", ".join(
        f"{split} {known[split]} of {total[split]}" for split in (*SPLITS, "all") if total[split]
    )
    text = f"images with a group: {known.total()} of {len(images)} ({by_split})"
    if without := [file for _, file, group in images if not group]:
        text += f"; {len(without)} without, each its own group: {first_few(without)}{_hint(groups, without)}"
    return text


def _hint(names: Iterable[str], files: Sequence[str]) -> str:
    """A hint if a table has 12, or 12.0, for the file 00012.jpg."""
    stems = [_ending(file, 1, suffix=False) for file in files]
    shortened = {stem.lstrip("0"): stem for stem in stems if stem.isdecimal()}
    for name in names:
        stem = shortened.get(_ending(name, 1, suffix=False).removesuffix(".0").lstrip("0"))
        if stem and stem != _ending(name, 1, suffix=False):
            return f"; its IDs look like the file names without leading zeros ({quoted(name)} for {stem})"
    return ""
