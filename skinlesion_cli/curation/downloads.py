"""The published data sets HAM10000, ISIC 2019 and MSLD v2.0, read from their downloads; originals only.

Functions raise InputError if a table or the images are missing.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skinlesion_cli.common.csv_files import read_table
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import quoted
from skinlesion_cli.data.splits import find_images

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
NO_FILE = "listed in the table, but no file"


@dataclass(frozen=True)
class Photo:
    """A labelled photograph."""

    path: Path
    label: str
    group: str
    """Lesion or patient; the image's own name where neither is known."""
    source: str


@dataclass(frozen=True)
class Download:
    """What was found in one download."""

    source: Source
    photos: tuple[Photo, ...]
    left_out: dict[str, int]
    """Number of images or rows that were not taken, by reason."""


def read_ham10000(folder: Path, truth: dict[str, str] | None) -> Download:
    """Read HAM10000's table and images below `folder`; `truth` (ISIC 2019) distinguishes akiec's classes."""
    table = _table(folder, {"lesion_id", "image_id", "dx"}, "HAM10000_metadata.csv", "HAM10000_metadata")
    images = _images_by_stem(folder)
    found: list[Photo | str] = []
    for row in table:
        name, diagnosis = row["image_id"], row["dx"].lower()
        label = (truth or {}).get(name) if diagnosis == "akiec" else HAM_CLASSES.get(diagnosis)
        if name not in images:
            found.append(NO_FILE)
        elif label is not None:
            found.append(Photo(images[name], label, row["lesion_id"] or name, HAM10000.name))
        elif diagnosis == "akiec":
            found.append("akiec: only the ISIC 2019 ground truth distinguishes its two classes (--isic2019)")
        else:
            found.append(f"unknown diagnosis {quoted(diagnosis)}")
    found += ["file without a row in the table" for _ in images.keys() - {row["image_id"] for row in table}]
    return _download(HAM10000, folder, found)


def read_isic2019(folder: Path, truth: dict[str, str]) -> Download:
    """Read the ISIC 2019 training set: its metadata, and the images of `truth` anywhere below `folder`."""
    table = _table(folder, {"image", "lesion_id"}, "ISIC_2019_Training_Metadata.csv")
    lesions = {row["image"]: row["lesion_id"] for row in table}
    images = _images_by_stem(folder)
    found: list[Photo | str] = [
        Photo(images[name], label, lesions.get(name) or name, ISIC2019.name) if name in images else NO_FILE
        for name, label in truth.items()
    ]
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


def read_msld(folder: Path) -> Download:
    """Read MSLD v2.0's `Original Images` (DISEASE_PATIENT_IMAGE), each once; the patient is the group."""
    found: list[Photo | str] = []
    taken = set()
    for path in find_images([str(folder)]):
        folders = [part.lower() for part in path.relative_to(folder).parts[:-1]]
        name = re.fullmatch(r"([A-Z]+)_(\d+)_\d+", path.stem)
        if any("augmented" in part or part.endswith("_aug") for part in folders):
            found.append("augmented copy")
        elif name is None or name[1] not in MSLD_CLASSES:
            found.append("name is not DISEASE_PATIENT_IMAGE")
        elif path.stem in taken:
            found.append("repeated in another fold")
        else:
            taken.add(path.stem)
            found.append(Photo(path, MSLD_CLASSES[name[1]], f"MSLD_{name[1]}_{name[2]}", MSLD.name))
    return _download(MSLD, folder, found)


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
        raise InputError(f"{folder} holds no image of {source.name} that could be taken")
    return Download(source, photos, dict(Counter(one for one in found if isinstance(one, str))))


def _images_by_stem(folder: Path) -> dict[str, Path]:
    # Some downloads hold every image twice, in folders whose names differ in case; either will do.
    return {path.stem: path for path in reversed(find_images([str(folder)]))}


def _table(folder: Path, columns: set[str], *names: str) -> list[dict[str, str]]:
    """The rows of the first table below `folder` that has one of the names."""
    found = [path for name in names for path in sorted(folder.rglob(name)) if path.is_file()]
    if not found:
        raise InputError(f"there is no {names[0]} below {folder}")
    present, rows = read_table(found[0])
    if not rows or not columns <= set(present):
        raise InputError(f"{found[0]} lacks columns of the published table ({', '.join(sorted(columns))})")
    return rows
