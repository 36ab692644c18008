"""The files were scored with isic-challenge-scoring 5.6.0, whose balanced accuracy and AUCs were ours."""

from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Event, Warned
from skinlesion_cli.inference.isic import (
    ISIC2018,
    ISIC2019,
    isic_columns,
    require_distinct_images,
    write_isic,
)
from skinlesion_cli.inference.prediction import Prediction
from tests.support import published


def test_the_fourteen_classes_are_isic_2019s_and_the_rest_is_unknown(tmp_path: Path) -> None:
    columns = isic_columns(published.CLASSES)
    assert columns.columns == ISIC2019
    assert dict(zip(published.CLASSES, columns.codes, strict=True))["Melanocytic nevi"] == "NV"
    assert columns.codes.count("UNK") == 6
    found = dict.fromkeys(published.CLASSES, 0.0) | {"Melanoma": 0.5, "Monkeypox": 0.25, "Measles": 0.25}
    path = tmp_path / "p.csv"
    write_isic(path, columns, [Prediction("folder/ISIC_1.JPG", "Melanoma", 0.5, found)])
    header, row = path.read_text(encoding="utf-8").splitlines()
    assert header == "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"
    # A column of whole numbers would be refused there.
    assert row == "ISIC_1,0.500000000" + ",0.000000000" * 7 + ",0.500000000"


def test_the_task_of_2018_has_akiec() -> None:
    columns = isic_columns(["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"])
    assert columns.columns == ISIC2018
    assert columns.codes == ("AKIEC", "BCC", "BKL", "DF", "MEL", "NV", "VASC")
    with pytest.raises(InputError, match="a class AKIEC is for ISIC 2018, which has no scc"):
        isic_columns(["akiec", "scc"])


def test_classes_without_a_column_are_reported_or_refused() -> None:
    told: list[Event] = []
    isic_columns(["Melanoma", "Nevus"], told.append)
    assert told == [Warned("the model has no class for BCC, AK, BKL, DF, VASC, SCC: 0 in the file")]
    with pytest.raises(InputError, match=r"no class of the model is an ISIC diagnosis .*: cat, dog"):
        isic_columns(["cat", "dog"])
    with pytest.raises(InputError, match=r"a/1\.jpg and b/1\.png have the same name"):
        require_distinct_images([Path("a/1.jpg"), Path("b/1.png")])
