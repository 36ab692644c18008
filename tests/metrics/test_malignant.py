import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.malignant import malignant_classes, malignant_section, malignant_warnings
from skinlesion_cli.metrics.predictions import Predictions
from tests.support import published
from tests.support.simulated import simulated

ISIC = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")


def test_the_usual_malignant_classes_are_known_by_name_and_by_code() -> None:
    usual = ("Basal cell carcinoma", "Melanoma", "Squamous cell carcinoma")
    assert malignant_classes(published.CLASSES) == usual
    assert malignant_classes(ISIC) == ("MEL", "BCC", "SCC")
    assert malignant_classes(["akiec", "bcc", "mel", "nv"]) == ("bcc", "mel")
    assert malignant_classes(["melanocytic nevi", "melanoma metastasis"]) == ()
    spelled = ["basal_cell_carcinoma", "Squamous-Cell Carcinoma", "melanoma  in situ", "BasalCellCarcinoma"]
    assert malignant_classes([*spelled, "nevus"]) == tuple(spelled)
    assert malignant_classes(["AKIEC", "BCC", "BKL", "DF", "MEL", "NV", "VASC"]) == ("BCC", "MEL")


def test_a_name_with_commas_is_one_name() -> None:
    classes = ["Melanoma, NOS", "Melanoma", "Merkel_cell carcinoma", "Nevus"]
    assert malignant_classes(classes, "Melanoma, NOS") == ("Melanoma, NOS",)
    assert malignant_classes(classes, "merkel-cell carcinoma,Melanoma,NOS") == tuple(classes[::2])
    assert malignant_classes(classes, ["Melanoma", "melanoma, nos"]) == tuple(classes[:2])
    assert malignant_classes(["A-B", "a b", "C"], "a b") == ("a b",)
    with pytest.raises(InputError, match=r"no class 'NOS'"):
        malignant_classes(classes[1:], "Melanoma, NOS")


def test_a_class_that_sounds_malignant_but_is_not_counted_is_reported() -> None:
    warnings = malignant_warnings(None, ["Melanoma, NOS", "Kaposi_Sarcoma", "nevus"])
    text = "counted as benign: Melanoma, NOS, Kaposi_Sarcoma (--malignant A,B names the malignant classes)"
    assert warnings == [text]
    section = {"classes": ["Melanoma"], "n_malignant": 1, "n_benign": 1}
    assert malignant_warnings(section, ["Melanoma", "nevus"]) == []


def test_others_can_be_named() -> None:
    found = malignant_classes(published.CLASSES, ["melanoma", "actinic keratoses"])
    assert found == ("Actinic keratoses", "Melanoma")
    with pytest.raises(
        InputError, match=r"--malignant: the model has no class 'Melanom'; did you mean Melanoma\?"
    ):
        malignant_classes(published.CLASSES, ["Melanom"])
    with pytest.raises(InputError, match="no class 'x'; the classes are MEL, NV"):
        malignant_classes(ISIC, ["x"])
    for named in ([], ISIC):
        with pytest.raises(InputError, match="leave at least one benign"):
            malignant_classes(ISIC, named)


def test_without_malignant_classes_there_is_no_section() -> None:
    assert malignant_section(simulated(), (), Bootstrap(600)) is None
    assert malignant_warnings(None) == []


def test_figures_are_scikit_learns() -> None:
    predictions = simulated(n=500)
    section = malignant_section(predictions, ("b", "d"), Bootstrap(len(predictions), resamples=50))
    positive, scores = np.isin(predictions.true, [1, 3]), predictions.probabilities[:, [1, 3]].sum(axis=1)
    assert (section["classes"], section["n_malignant"]) == (["b", "d"], positive.sum())
    assert section["n_benign"] == 500 - positive.sum()
    assert section["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores), abs=1e-12)
    expected = sklearn_metrics.average_precision_score(positive, scores)
    assert section["average_precision"] == pytest.approx(expected, abs=1e-12)
    for name, (low, high) in section["ci95"].items():
        assert low <= section[name] <= high

    called = {point["name"]: scores >= point["threshold"] for point in section["operating_points"][1:]} | {
        "decision": np.isin(predictions.predicted, [1, 3])
    }
    assert section["operating_points"][0]["threshold"] is None
    for point in section["operating_points"]:
        (cleared, alarms), (misses, hits) = sklearn_metrics.confusion_matrix(positive, called[point["name"]])
        assert point["sensitivity"] == pytest.approx(hits / (hits + misses), abs=1e-12)
        assert point["specificity"] == pytest.approx(cleared / (cleared + alarms), abs=1e-12)
        assert point["ppv"] == pytest.approx(hits / (hits + alarms), abs=1e-12)
        assert point["npv"] == pytest.approx(cleared / (cleared + misses), abs=1e-12)
        low, high = point["ci95"]["sensitivity"]
        assert low <= point["sensitivity"] <= high

    # Each threshold is the best of all that keep its promise.
    specific, sensitive, youden = section["operating_points"][1:]
    rates = []
    for threshold in np.unique(scores):
        at_least = scores >= threshold
        rates.append(((at_least & positive).sum() / positive.sum(), (~at_least & ~positive).sum()))
    rates = [(sensitivity, cleared / (~positive).sum()) for sensitivity, cleared in rates]
    assert specific["sensitivity"] == max(one for one, other in rates if other >= 0.95)
    assert specific["sensitivity"] == section["sensitivity_at_95_specificity"]
    assert sensitive["specificity"] == max(other for one, other in rates if one >= 0.90)
    assert youden["sensitivity"] + youden["specificity"] == pytest.approx(max(map(sum, rates)))


def test_melanoma_predicted_as_carcinoma_is_not_a_miss() -> None:
    probabilities = np.array([[0.3, 0.4, 0.3], [0.1, 0.1, 0.8]])
    predictions = Predictions(
        ("1", "2"), ("mel", "bcc", "nv"), np.array([1, 2]), np.array([0, 2]), probabilities
    )
    section = malignant_section(predictions, ("mel", "bcc"), Bootstrap(len(predictions), resamples=5))
    decision = section["operating_points"][0]
    assert (decision["sensitivity"], decision["specificity"]) == (1.0, 1.0)
    assert section["operating_points"][3]["threshold"] == pytest.approx(0.7)


def test_when_benign_images_score_highest_nothing_is_called_malignant() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8]])
    predictions = Predictions(
        ("1", "2", "3"), ("mel", "nv"), np.array([0, 0, 1]), np.array([1, 0, 1]), probabilities
    )
    point = malignant_section(predictions, ("mel",), Bootstrap(len(predictions), resamples=5))[
        "operating_points"
    ][1]
    assert (point["threshold"], point["sensitivity"], point["specificity"]) == (None, 0.0, 1.0)
    assert (point["ppv"], point["ci95"]["ppv"]) == (None, None)


def test_decisions_alone_have_one_operating_point_and_no_curve() -> None:
    true, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    predictions = Predictions(tuple("12345"), ("mel", "nv"), predicted, true)
    section = malignant_section(predictions, ("mel",), Bootstrap(len(predictions), resamples=20))
    assert section["auc"] is None
    assert section["ci95"]["auc"] is None
    (decision,) = section["operating_points"]
    rates = [decision[name] for name in ("sensitivity", "specificity", "ppv", "npv")]
    assert rates == pytest.approx([1 / 2, 2 / 3, 1 / 2, 2 / 3])


@pytest.mark.parametrize(("true", "missing"), [(0, "benign"), (1, "malignant")])
def test_one_sided_images_have_null_figures_with_a_warning(true: int, missing: str) -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    predictions = Predictions(
        ("1", "2"), ("mel", "nv"), np.array([0, 1]), np.array([true, true]), probabilities
    )
    section = malignant_section(predictions, ("mel",), Bootstrap(len(predictions), resamples=5))
    assert section["auc"] is None
    assert section["sensitivity_at_95_specificity"] is None
    assert (section["operating_points"][0]["sensitivity"] is None) == (missing == "malignant")
    assert malignant_warnings(section) == [f"no {missing} images: malignant versus benign has no ROC curve"]
