import dataclasses
from pathlib import Path

import numpy as np
import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.metrics.classification import score
from skinlesion_cli.metrics.predictions import Predictions, read_predictions, write_predictions


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    probabilities = np.array([[0.1, 0.9], [1 / 3, 2 / 3]])
    predictions = Predictions(
        ('odd, "name".jpg', "b.jpg"), ("x", "y, z"), np.array([1, 1]), np.array([0, 1]), probabilities
    )
    write_predictions(tmp_path / "p.csv", predictions)
    read = read_predictions(tmp_path / "p.csv")
    assert read.images == predictions.images
    assert read.classes == predictions.classes
    assert np.array_equal(read.true, predictions.true)
    assert np.array_equal(read.predicted, predictions.predicted)
    assert read.probabilities == pytest.approx(probabilities, abs=1e-9)


def test_decisions_alone_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("image,y_true,y_pred\n1,b,a\n2,c,c\n", encoding="utf-8")
    read = read_predictions(path)
    assert read.classes == ("a", "b", "c")
    assert read.probabilities is None


def test_probabilities_alone_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("y_true,b,a,image\nb,0.2,0.8,1\n", encoding="utf-8")
    read = read_predictions(path)
    assert read.classes == ("b", "a")
    assert read.predicted.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column image"),
        ("image,y_pred\n1,a\n", "no column y_true"),
        ("image,y_true\n1,a\n", "needs the column y_pred or"),
        ("image,y_true,y_pred,a,a\n", "more than one column a"),
        ("image,y_true,y_pred,\n", "without a name"),
        ("image,y_true,y_pred\n", "no predictions"),
        ("image,y_true,y_pred,a\n1,a\n", "line 2: 2 cells where the header has 4"),
        ("image,y_true,y_pred,a\n1,b,a,1\n", "line 2: y_true is the class 'b', which has no column"),
        ("image,y_true,y_pred,a\n1,,a,1\n", "line 2: y_true is an empty cell"),
        ("image,y_true,y_pred\n1,,a\n", "line 2: y_true is an empty cell"),
        ("image,y_true,y_pred,a\n1,a,a,1.5\n", "line 2, column a: '1.5' is not a probability"),
        ("image,y_true,y_pred,a\n1,a,a,nan\n", "'nan' is not a probability"),
        ("image,y_true,y_pred,a\n1,a,a,inf\n", "line 2, column a: 'inf' is not a probability"),
        ("image,y_true,y_pred,a\n1,a,a,-inf\n", "'-inf' is not a probability"),
        ("image,y_true,y_pred,a\n1,a,a,-0.1\n", "'-0.1' is not a probability"),
        ("image,y_true,y_pred,a\n1,a,a,\n", "'' is not a probability"),
        ("image,y_true,y_pred\n1,a,a\n2,a,a\n1,b,a\n", "line 4: the image 1 is a duplicate, first on line 2"),
        ("image,y_true,y_pred\n1,a,a\n ,b,a\n", "line 3: image is an empty cell"),
        ("image,y_true,nevus\n1,Nevus,1\n", "line 2: y_true is .*no column; did you mean nevus?"),
        ("image,y_true,y_pred,nevus\n1,nevus,nevi,1\n", "line 2: y_pred is .*no column; did you mean nevus?"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        read_predictions(path)


def test_classes_are_matched_by_name_and_not_by_position(tmp_path: Path) -> None:
    path, other = tmp_path / "p.csv", tmp_path / "q.csv"
    path.write_text("image,y_true,a,b,c\n1,a,0.7,0.2,0.1\n2,c,0.1,0.3,0.6\n", encoding="utf-8")
    other.write_text("image,y_true,c,a,b\n1,a,0.1,0.7,0.2\n2,c,0.6,0.1,0.3\n", encoding="utf-8")
    read, turned = read_predictions(path), read_predictions(other)
    assert turned.classes == ("c", "a", "b")
    assert turned.true.tolist() == [1, 0]
    assert score(turned).summary == pytest.approx(score(read).summary, nan_ok=True)
    for name, one in score(turned).per_class.items():
        expected = dataclasses.asdict(score(read).per_class[name])
        assert dataclasses.asdict(one) == pytest.approx(expected, nan_ok=True)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(b"image,y_true,y_pred\n\xff\xfe\n")
    with pytest.raises(InputError, match="cannot read the predictions"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("text", "classes", "probabilities", "ignored"),
    [
        # A confidence, a fold and an age beside the classes.
        ("image,y_true,confidence,A,B\n1,A,0.9,0.9,0.1\n2,B,0.8,0.2,0.8\n", "AB", [0.9, 0.1], ["confidence"]),
        ("image,y_true,A,B,fold,age\n1,A,1,0,0,57\n2,B,0,1,1,\n", "AB", [1, 0], ["fold", "age"]),
        ("image,y_true,A,B,fold\n1,A,1,0,0\n2,B,0,1,0\n", "AB", [1, 0], ["fold"]),
        # A class without images completes the sum; the confidence repeats another class.
        ("image,y_true,A,B,C\n1,A,0.6,0.1,0.3\n2,B,0.2,0.5,0.3\n", "ABC", [0.6, 0.1, 0.3], []),
        (
            "image,y_true,top,A,C,B\n1,A,0.6,0.6,0.3,0.1\n2,B,0.5,0.2,0.3,0.5\n",
            "ACB",
            [0.6, 0.3, 0.1],
            ["top"],
        ),
        ("image,y_true,A,B,C\n1,A,0.999,0,0.001\n2,B,0,0.999,0.001\n", "ABC", [0.999, 0, 0.001], []),
        # What y_pred names is a class.
        ("image,y_true,y_pred,A,B\n1,A,B,0.2,0.2\n2,A,A,0.3,0.1\n", "AB", [0.2, 0.2], []),
        # Rounded in float32.
        ("image,y_true,A,B\n1,A,1.0000001192092896,-1e-9\n2,B,0.2,0.8\n", "AB", [1, 0], []),
    ],
)
def test_only_classes_are_scored(
    tmp_path: Path, text: str, classes: str, probabilities: list[float], ignored: list[str]
) -> None:
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    read = read_predictions(tmp_path / "p.csv")
    assert read.classes == tuple(classes)
    assert read.probabilities is not None
    assert read.probabilities[0].tolist() == probabilities
    told = f"the classes are {', '.join(classes)}; ignored: {', '.join(ignored)} "
    told = f"{tmp_path}/p.csv: {told}(evaluate --classes names others)"
    assert read.remarks == ((told,) if ignored else ())


def test_the_class_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("image,y_true,A,B,C,fold\n1,A,0.5,0.4,0.5,1\n2,A,0.3,0.6,0.4,1\n", encoding="utf-8")
    read = read_predictions(path, ["C", "A"])
    assert (read.classes, read.predicted.tolist(), read.true.tolist()) == (("C", "A"), [0, 0], [1, 1])
    assert "ignored: B, fold " in read.remarks[0]
    with pytest.raises(InputError, match="has no column of the class D"):
        read_predictions(path, ["A", "D"])
    path.write_text("image,y_true,y_pred,confidence\n1,A,B,0.5\n", encoding="utf-8")
    with pytest.raises(InputError, match="'A', which has no column; columns that are no class: confidence"):
        read_predictions(path)
    assert read_predictions(path, ["A", "B"]).predicted.tolist() == [1]
