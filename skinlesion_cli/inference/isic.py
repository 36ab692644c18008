"""Predictions in the format of the ISIC challenges: a CSV file with `image` and one column per diagnosis.

The columns are those of ISIC 2019 (`MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK`), or of ISIC 2018, task 3
(`MEL,NV,BCC,AKIEC,BKL,DF,VASC`) for a model whose actinic keratoses and squamous cell carcinomas in situ are
one class. `isic-challenge-scoring` requires exactly these columns, names without `.jpg`, and decimal numbers.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from skinlesion_cli.common.csv_files import write_csv
from skinlesion_cli.common.errors import InputError, first_few
from skinlesion_cli.common.events import OnEvent, Warned, ignore
from skinlesion_cli.inference.prediction import Prediction

ISIC2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
ISIC2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_NAMES = {
    "MEL": ("mel", "melanoma"),
    "NV": ("nv", "nevus", "naevus", "nevi", "melanocyticnevus", "melanocyticnevi", "melanocyticnaevi"),
    "BCC": ("bcc", "basalcellcarcinoma"),
    "AK": ("ak", "actinickeratosis", "actinickeratoses"),
    "AKIEC": ("akiec", "actinickeratosesandintraepithelialcarcinoma", "bowensdisease"),
    "BKL": ("bkl", "benignkeratosis", "benignkeratosislikelesions", "benignkeratosislikelesion"),
    "DF": ("df", "dermatofibroma", "dermatofibromas"),
    "VASC": ("vasc", "vascularlesion", "vascularlesions"),
    "SCC": ("scc", "squamouscellcarcinoma"),
    "UNK": ("unk", "unknown", "noneoftheothers"),
}
_CODES = {name: code for code, names in _NAMES.items() for name in names}


@dataclass(frozen=True)
class IsicColumns:
    """The columns of a challenge, and the column of each class of a model."""

    columns: tuple[str, ...]
    codes: tuple[str, ...]
    """For each class of the model."""

    def row(self, prediction: Prediction) -> list[str]:
        """The row of an image; probabilities of classes with one column are summed."""
        sums = dict.fromkeys(self.columns, 0.0)
        for code, probability in zip(self.codes, prediction.probabilities.values(), strict=True):
            sums[code] += probability
        # A column of whole numbers would be refused: 0 is written as 0.0.
        cells = [f"{min(sums[column], 1.0):.9f}" for column in self.columns]
        return [PurePath(prediction.image).stem, *cells]


def isic_columns(classes: Sequence[str], on_event: OnEvent = ignore) -> IsicColumns:
    """The columns for a model's classes; for ISIC 2019, all classes without a diagnosis there become UNK.

    A warning names the columns without a class, which stay 0.

    InputError if no class is a diagnosis of a challenge, or the task of 2018 has no column for one.
    """
    codes = [_CODES.get(re.sub(r"[^a-z]+", "", name.casefold()), "") for name in classes]
    if not set(codes) - {"", "UNK"}:
        known = "Melanoma or MEL, Melanocytic nevi or NV, …"
        raise InputError(
            f"--format isic: no class of the model is an ISIC diagnosis ({known}): {first_few(classes)}"
        )
    if "AKIEC" not in codes:
        codes = [code or "UNK" for code in codes]
    elif others := [name for name, code in zip(classes, codes, strict=True) if code not in ISIC2018]:
        raise InputError(
            f"--format isic: a model with a class AKIEC is for ISIC 2018, which has no {first_few(others)}"
        )
    columns: tuple[str, ...] = ISIC2018 if "AKIEC" in codes else ISIC2019
    if empty := [column for column in columns if column not in (*codes, "UNK")]:
        on_event(Warned(f"the model has no class for {', '.join(empty)}: 0 in the file"))
    return IsicColumns(columns, tuple(codes))


def require_distinct_images(paths: Iterable[Path]) -> None:
    """InputError if two images have the same name without folder and suffix, which no challenge accepts."""
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise InputError(
                f"--format isic: {seen[path.stem]} and {path} have the same name; leave one of them out"
            )
        seen[path.stem] = path


def write_isic(path: Path, columns: IsicColumns, predictions: Iterable[Prediction]) -> None:
    """Write the CSV file, atomically."""
    write_csv(path, ("image", *columns.columns), map(columns.row, predictions))
