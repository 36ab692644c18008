"""The published data sets, read from the folders in which they are downloaded.

HAM10000, ISIC 2019 and MSLD v2.0, each as its own page describes it. Only originals are taken.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skinlesion_cli.common.csv_files import read_table
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import quoted
from skinlesion_cli.data.splits import find_images

AKIEC = "akiec"
# HAM10000's diagnoses. Its akiec joins two classes of the paper, which only the ISIC 2019 truth tells apart.
HAM_CLASSES = {
    "nv": "Melanocytic nevi",
    "mel": "Melanoma",
    "bkl": "Benign keratosis-like lesions",
    "bcc": "Basal cell carcinoma",
    "vasc": "Vascular lesions",
    "df": "Dermatofibroma",
}
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


@dataclass(frozen=True)
class Photo:
    """One photograph that is taken."""

    path: Path
    label: str
    group: str
    """Lesion or patient; the photograph's own name where neither is known."""
    source: str


@dataclass(frozen=True)
class Download:
    """What was found in one download."""

    source: Source
    photos: tuple[Photo, ...]
    left_out: dict[str, int]
    """How many images or rows were not taken, by the reason."""


def read_ham10000(folder: Path, truth: dict[str, str] | None) -> Download:
    """Read HAM10000: HAM10000_metadata.csv, and the images wherever they lie below `folder`.

    Args:
        folder: the download.
        truth: class of each image by the ISIC 2019 truth, which tells akiec apart; None where not given.

    Raises:
        InputError: the folder, its table or its images are missing.
    """
    table = _table(folder, ("HAM10000_metadata.csv", "HAM10000_metadata"), {"lesion_id", "image_id", "dx"})
    images = _by_stem(folder)
    photos, left_out = [], Counter[str]()
    for row in table:
        name, diagnosis = row["image_id"], row["dx"].lower()
        label = HAM_CLASSES.get(diagnosis)
        if diagnosis == AKIEC:
            label = (truth or {}).get(name)
        if name not in images:
            left_out["listed in the table, no file"] += 1
        elif label is None and diagnosis == AKIEC:
            left_out["akiec: only the ISIC 2019 truth tells its two classes apart (--isic2019)"] += 1
        elif label is None:
            left_out[f"unknown diagnosis {quoted(diagnosis)}"] += 1
        else:
            photos.append(Photo(images[name], label, row["lesion_id"] or name, HAM10000.name))
    left_out["file without a row in the table"] += len(images.keys() - {row["image_id"] for row in table})
    return _download(HAM10000, folder, photos, left_out)


def read_isic2019(folder: Path, truth: dict[str, str]) -> Download:
    """Read ISIC 2019's training set: its metadata table, and the images wherever they lie below `folder`.

    Args:
        folder: the download.
        truth: as `read_isic2019_truth` gives it.

    Raises:
        InputError: the folder, its table or its images are missing.
    """
    table = _table(folder, ("ISIC_2019_Training_Metadata.csv",), {"image", "lesion_id"})
    lesions = {row["image"]: row["lesion_id"] for row in table}
    images = _by_stem(folder)
    photos, left_out = [], Counter[str]()
    for name, label in truth.items():
        if name in images:
            photos.append(Photo(images[name], label, lesions.get(name) or name, ISIC2019.name))
        else:
            left_out["listed in the table, no file"] += 1
    left_out["file without a class in the table"] += len(images.keys() - truth.keys())
    return _download(ISIC2019, folder, photos, left_out)


def read_isic2019_truth(folder: Path) -> dict[str, str]:
    """Class of each image by ISIC_2019_Training_GroundTruth.csv; images of the class UNK are not in it.

    Raises:
        InputError: the table is missing or has other columns.
    """
    table = _table(folder, ("ISIC_2019_Training_GroundTruth.csv",), {"image", *ISIC_CLASSES})
    truth = {}
    for row in table:
        marked = [code for code in ISIC_CLASSES if row[code].strip() in {"1.0", "1"}]
        if len(marked) == 1:
            truth[row["image"]] = ISIC_CLASSES[marked[0]]
    return truth


def read_msld(folder: Path) -> Download:
    """Read MSLD v2.0: the images of `Original Images`, each once however many folds repeat it.

    Files are named DISEASE_PATIENT_IMAGE; the patient is the group.

    Raises:
        InputError: the folder or its original images are missing.
    """
    photos: dict[str, Photo] = {}
    left_out = Counter[str]()
    for path in find_images([str(_require_folder(folder))]):
        inside = [part.lower() for part in path.relative_to(folder).parts[:-1]]
        parts = re.fullmatch(r"([A-Z]+)_(\d+)_\d+", path.stem)
        if any("augmented" in part or part.endswith("_aug") for part in inside):
            left_out["augmented copy"] += 1
        elif parts is None or parts[1] not in MSLD_CLASSES:
            left_out["name is not DISEASE_PATIENT_IMAGE"] += 1
        elif path.stem in photos:
            left_out["repeated in another fold"] += 1
        else:
            group = f"MSLD_{parts[1]}_{parts[2]}"
            photos[path.stem] = Photo(path, MSLD_CLASSES[parts[1]], group, MSLD.name)
    return _download(MSLD, folder, list(photos.values()), left_out)


def without_repeats(downloads: list[Download]) -> list[Download]:
    """Take an image that several downloads hold from the first of them alone."""
    seen: set[str] = set()
    kept = []
    for download in downloads:
        photos = tuple(photo for photo in download.photos if photo.path.stem not in seen)
        repeated = len(download.photos) - len(photos)
        seen |= {photo.path.stem for photo in photos}
        reasons = {"already taken from another download": repeated} if repeated else {}
        kept.append(Download(download.source, photos, download.left_out | reasons))
    return kept


def _download(source: Source, folder: Path, photos: list[Photo], left_out: Counter[str]) -> Download:
    if not photos:
        raise InputError(f"{folder} holds no image of {source.name} that could be taken")
    return Download(source, tuple(photos), {reason: count for reason, count in left_out.items() if count})


def _require_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    return folder


def _by_stem(folder: Path) -> dict[str, Path]:
    # Some downloads hold every image twice, in folders whose names differ in case; either will do.
    return {path.stem: path for path in reversed(find_images([str(folder)]))}


def _table(folder: Path, names: tuple[str, ...], columns: set[str]) -> list[dict[str, str]]:
    path = next(_tables_below(_require_folder(folder), names), None)
    if path is None:
        raise InputError(f"there is no {names[0]} below {folder}")
    present, rows = read_table(path)
    if not rows or not columns <= set(present):
        raise InputError(f"{path} has other columns than the published table ({', '.join(sorted(columns))})")
    return rows


def _tables_below(folder: Path, names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        yield from sorted(path for path in folder.rglob(name) if path.is_file())
