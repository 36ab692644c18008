"""The published data sets HAM10000, ISIC 2019 and MSLD v2.0, read from their downloads; originals only.

Functions raise InputError if a table or the images are missing.
"""

import filecmp
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from skinlesion_cli.common.csv_files import read_table
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.common.text import quoted
from skinlesion_cli.data.folders import list_files, tell_left_out, tell_skipped
from skinlesion_cli.data.table_rows import MISSING

ISIC_CLASSES = {
    "MEL": "Melanoma",
    "NV": "Melanocytic nevi",
    "BCC": "Basal cell carcinoma",
    "AK": "Actinic keratoses",
    "BKL": "Benign keratosis-like lesions",
    "DF": "Dermatofibroma",
    "VASC": "Vascular lesions",
    "SCC": "Squamous cell carcinoma",
}
# HAM10000's codes are the same, but its akiec contains AK and SCC, which only ISIC 2019's ground truth
# distinguishes.
HAM_CLASSES = {code.lower(): label for code, label in ISIC_CLASSES.items() if code not in ("AK", "SCC")}
MSLD_CLASSES = {
    "MKP": "Monkeypox",
    "CHP": "Chickenpox",
    "CWP": "Cowpox",
    "MSL": "Measles",
    "HFMD": "HFMD",
    "HEALTHY": "Healthy",
}


@dataclass(frozen=True)
class Source:
    """A published data set: its name, its licence, and what to cite."""

    name: str
    licence: str
    citation: str


HAM10000 = Source(
    "HAM10000",
    "CC BY-NC 4.0",
    "Tschandl, Rosendahl, Kittler: The HAM10000 dataset. Scientific Data 5, 180161 (2018).",
)
ISIC2019 = Source(
    "ISIC 2019",
    "CC BY-NC 4.0",
    "Tschandl et al. (2018) as above; Codella et al.: Skin Lesion Analysis Toward Melanoma Detection (2018); "
    "Hernández-Pérez et al.: BCN20000. Scientific Data 11, 641 (2024).",
)
MSLD = Source(
    "MSLD v2.0",
    "Creative Commons; the data set's page names the terms",
    "Ali et al.: A Web-based Mpox Skin Lesion Detection System. Biomedical Signal Processing and Control 98, "
    "106742 (2024).",
)
# The folders of originals in the archives, in lower case.
HAM10000_ORIGINALS = {"ham10000_images_part_1", "ham10000_images_part_2"}
ISIC2019_ORIGINALS = {"isic_2019_training_input"}
MSLD_ORIGINALS = "original images"
NO_FILE = "listed in the table, but no file"
OUTSIDE = "not in a published folder"
TABLES = {".csv", ".tab", ".txt", ".md", ".pdf", ".zip"}


@dataclass(frozen=True)
class Photo:
    """A labelled photograph."""

    path: Path
    label: str
    group: str
    """Lesion or patient; the image's own name if neither is known."""
    source: str
    others: dict[str, str] = field(default_factory=dict)
    """Age in years, sex and site, if known."""


@dataclass(frozen=True)
class Download:
    """What was found in one download."""

    source: Source
    photos: tuple[Photo, ...]
    left_out: dict[str, int]
    """Number of images or rows that were left out, by reason."""


def read_ham10000(folder: Path, truth: dict[str, str] | None, on_event: OnEvent = ignore) -> Download:
    """Read HAM10000's table and images below `folder`; `truth` (ISIC 2019) distinguishes akiec's classes."""
    table = _table(folder, {"lesion_id", "image_id", "dx"}, "HAM10000_metadata.csv", "HAM10000_metadata")
    images, found = _images_by_id(folder, HAM10000_ORIGINALS, on_event)
    for row in table:
        name, diagnosis = row["image_id"], row["dx"].lower()
        label = (truth or {}).get(name) if diagnosis == "akiec" else HAM_CLASSES.get(diagnosis)
        if name not in images:
            found.append(NO_FILE)
        elif label is not None:
            known = _about(row, age="age", sex="sex", site="localization")
            found.append(Photo(images[name], label, row["lesion_id"] or name, HAM10000.name, known))
        elif diagnosis == "akiec":
            found.append("akiec: only the ISIC 2019 ground truth distinguishes its two classes (--isic2019)")
        else:
            found.append(f"unknown diagnosis {quoted(diagnosis)}")
    found += ["file without a row in the table" for _ in images.keys() - {row["image_id"] for row in table}]
    return _download(HAM10000, folder, found)


def read_isic2019(folder: Path, truth: dict[str, str], on_event: OnEvent = ignore) -> Download:
    """Read the ISIC 2019 training set: its metadata, and the images of `truth` anywhere below `folder`."""
    table = _table(folder, {"image", "lesion_id"}, "ISIC_2019_Training_Metadata.csv")
    rows = {row["image"]: row for row in table}
    images, found = _images_by_id(folder, ISIC2019_ORIGINALS, on_event)
    for name, label in truth.items():
        row = rows.get(name, {})
        known = _about(row, age="age_approx", sex="sex", site="anatom_site_general")
        group = row.get("lesion_id") or name
        found.append(Photo(images[name], label, group, ISIC2019.name, known) if name in images else NO_FILE)
    found += ["file without a class in the table" for _ in images.keys() - truth.keys()]
    return _download(ISIC2019, folder, found)


def read_isic2019_truth(folder: Path) -> dict[str, str]:
    """Class of each image, from ISIC_2019_Training_GroundTruth.csv; without images of the class UNK."""
    truth = {}
    for row in _table(folder, {"image", *ISIC_CLASSES}, "ISIC_2019_Training_GroundTruth.csv"):
        marked = [label for code, label in ISIC_CLASSES.items() if row[code].strip() in {"1.0", "1"}]
        if len(marked) == 1:
            truth[row["image"]] = marked[0]
    return truth


def read_msld(folder: Path, on_event: OnEvent = ignore) -> Download:
    """Read MSLD v2.0's `Original Images` (DISEASE_PATIENT_IMAGE), each once; the patient is the group."""
    found: list[Photo | str] = []
    taken: dict[str, Path] = {}
    paths = _list_images(folder, on_event)
    below = {path: [part.lower() for part in path.relative_to(folder).parts[:-1]] for path in paths}
    has_originals = any(MSLD_ORIGINALS in folders for folders in below.values())
    for path, folders in below.items():
        name = re.fullmatch(r"([A-Z]+)_(\d+)_\d+", path.stem)
        if any("augmented" in part or part.endswith("_aug") for part in folders):
            found.append("augmented copy")
        elif has_originals and MSLD_ORIGINALS not in folders:
            found.append(OUTSIDE)
        elif name is None or name[1] not in MSLD_CLASSES:
            found.append("name is not DISEASE_PATIENT_IMAGE")
        elif path.stem in taken:
            _refuse_different(path.stem, taken[path.stem], path)
            found.append("repeated in another fold")
        else:
            taken[path.stem] = path
            found.append(Photo(path, MSLD_CLASSES[name[1]], f"MSLD_{name[1]}_{name[2]}", MSLD.name))
    return _download(MSLD, folder, found)


def _about(row: dict[str, str], **columns: str) -> dict[str, str]:
    """What a published table says about an image; `columns` are the names of its columns."""
    cells = {name: row.get(column, "").strip() for name, column in columns.items()}
    # HAM10000 writes 80.0, ISIC 2019 writes 80.
    return {name: cell.removesuffix(".0") for name, cell in cells.items() if cell.casefold() not in MISSING}


def without_repeats(downloads: list[Download]) -> list[Download]:
    """Take an image that several downloads contain only from the first of them."""
    seen: set[str] = set()
    kept = []
    for download in downloads:
        photos = tuple(photo for photo in download.photos if photo.path.stem not in seen)
        seen |= {photo.path.stem for photo in photos}
        repeated = len(download.photos) - len(photos)
        reason = {"already taken from another download": repeated} if repeated else {}
        kept.append(replace(download, photos=photos, left_out=download.left_out | reason))
    return kept


def _download(source: Source, folder: Path, found: Sequence[Photo | str]) -> Download:
    """`found` has a photograph or the reason why it was left out."""
    photos = tuple(one for one in found if isinstance(one, Photo))
    if not photos:
        raise InputError(f"{folder} contains no usable image of {source.name}")
    return Download(source, photos, dict(Counter(one for one in found if isinstance(one, str))))


def _images_by_id(
    folder: Path, published: set[str], on_event: OnEvent
) -> tuple[dict[str, Path], list[Photo | str]]:
    """The photograph of each ID (its file's stem), and the reason for each file that was left out.

    If the published folders exist, only their files are taken: other folders contain resized copies and
    segmentation masks with the same IDs. InputError if two files with the same ID differ.
    """
    paths = _list_images(folder, on_event)
    originals = [path for path in paths if path.parent.name.lower() in published] or paths
    images: dict[str, Path] = {}
    for path in originals:
        # Some downloads contain every image twice, in folders whose names differ in case; either will do.
        _refuse_different(path.stem, images.setdefault(path.stem, path), path)
    return images, [OUTSIDE] * (len(paths) - len(originals))


def _refuse_different(name: str, one: Path, other: Path) -> None:
    with suppress(OSError):
        if one == other or filecmp.cmp(one, other):
            return
    fault = f"{name} is in two files that differ, {one} and {other}"
    raise InputError(f"{fault}; keep the published one, and move the other away")


def _list_images(folder: Path, on_event: OnEvent) -> list[Path]:
    images, others, skipped = list_files(folder)
    tell_skipped(folder, skipped, on_event)
    # The tables are read, or belong to the download.
    tell_left_out(str(folder), [one for one in others if one.suffix.lower() not in TABLES], on_event)
    return [folder / file for file in images]


def _table(folder: Path, columns: set[str], *names: str) -> list[dict[str, str]]:
    """The rows of the first of the named tables that exists below `folder`."""
    found = [path for name in names for path in sorted(folder.rglob(name)) if path.is_file()]
    if not found:
        raise InputError(f"there is no {names[0]} below {folder}")
    for other in found[1:]:
        if other.name == found[0].name:
            _refuse_different(other.name, found[0], other)
    present, rows = read_table(found[0])
    if not rows or not columns <= set(present):
        raise InputError(f"{found[0]} lacks columns of the published table ({', '.join(sorted(columns))})")
    return rows
