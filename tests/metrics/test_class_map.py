from pathlib import Path

import numpy as np
import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.metrics.class_map import read_class_map
from skinlesion_cli.metrics.predictions import read_predictions


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_both_sides_take_their_names_from_the_map_once(tmp_path: Path) -> None:
    found = read_class_map(write(tmp_path / "m.csv", "from,to\nnaevus,NV\nNV,benign\nDF,benign\nwart,\n"))
    classes = ("NV", "MEL", "DF")
    # The data's own "NV" is benign; naevus becomes NV, which the model has no more.
    assert found.models_class(["NV", "MEL", "wart"], classes) == {"NV": "NV", "MEL": "MEL"}
    with pytest.raises(InputError, match="naevus has no counterpart: 'NV' is no class of the model"):
        found.models_class(["naevus"], classes)
    assert [found.leaves_out(name) for name in ("wart", "NV", "other")] == [True, False, False]


def test_probabilities_of_merged_classes_are_summed_and_rows_left_out(tmp_path: Path) -> None:
    names = write(tmp_path / "m.csv", "from,to\nMEL,cancer\nBCC,cancer\nmole,NV\nwart,\nunheard,x\n")
    text = (
        "image,y_true,y_pred,MEL,BCC,NV\n"
        "1,cancer,NV,0.3,0.3,0.4\n"
        "2,mole,MEL,0.45,0.05,0.5\n"
        "3,wart,NV,0.1,0.1,0.8\n"
        "4,BCC,MEL,0.6,0.4,0.0\n"
    )
    read = read_predictions(write(tmp_path / "p.csv", text), class_map=read_class_map(names))
    assert read.classes == ("cancer", "NV")
    assert read.images == ("1", "2", "4")
    assert read.probabilities == pytest.approx(np.array([[0.6, 0.4], [0.5, 0.5], [1.0, 0.0]]))
    # Not the predicted class of the file: 1 is NV there.
    assert read.predicted.tolist() == [0, 0, 0]
    assert read.true.tolist() == [0, 1, 0]
    assert read.remarks == (
        f"{names}: 1 images are left out (wart)",
        f"{names}: no class of the data or the model is called unheard",
    )


def test_renamed_classes_keep_their_decisions(tmp_path: Path) -> None:
    names = read_class_map(write(tmp_path / "m.csv", "from,to\nnevus,NV\nmelanoma,MEL\n"))
    with_scores = write(tmp_path / "p.csv", "image,y_true,y_pred,MEL,NV\n1,nevus,NV,0.6,0.4\n")
    read = read_predictions(with_scores, class_map=names)
    assert (read.classes, read.predicted.tolist(), read.true.tolist()) == (("MEL", "NV"), [1], [1])
    decisions = write(tmp_path / "d.csv", "image,y_true,y_pred\n1,nevus,NV\n2,melanoma,NV\n")
    read = read_predictions(decisions, class_map=names)
    named = [[read.classes[label] for label in labels] for labels in (read.true, read.predicted)]
    assert named == [["NV", "MEL"], ["NV", "NV"]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n", "needs the columns from,to"),
        ("from,to\n", "at least one row"),
        ("from,to\n,x\n", "row 1: from is an empty cell"),
        ("from,to\nMEL,a\nMEL,b\n", "row 2: 'MEL' is mapped twice"),
        (
            "from,to\nx,y\n",
            "maps no class of the data or the model: it has x, the data MEL, the model MEL, NV",
        ),
        ("from,to\nMEL,\n", "leaves out every image"),
    ],
)
def test_a_map_that_cannot_be_used_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = write(tmp_path / "p.csv", "image,y_true,MEL,NV\n1,MEL,0.6,0.4\n")
    with pytest.raises(InputError, match=reason):
        read_predictions(path, class_map=read_class_map(write(tmp_path / "m.csv", text)))


def test_a_class_without_counterpart_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "image,y_true,melanoma,NV\n1,mel,0.6,0.4\n")
    names = read_class_map(write(tmp_path / "m.csv", "from,to\nmel,melanom\n"))
    with pytest.raises(InputError, match=r"mel has no counterpart: 'melanom' is.*did you mean melanoma\?"):
        read_predictions(path, class_map=names)
