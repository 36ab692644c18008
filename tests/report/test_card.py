import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.report.card import model_card, require_replaceable, write_card
from skinlesion_cli.report.facts import read_run
from skinlesion_cli.report.sections import training
from skinlesion_cli.training.environment import environment, record
from skinlesion_cli.training.run_folder import RunFolder
from tests.support.finished_run import CLASSES, COUNTS, write_finished_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finished_run(tmp_path_factory.mktemp("run"))


def rows(card: str, title: str) -> dict[str, list[str]]:
    """The rows of the table below a heading, by their first cell."""
    part = card[card.index(f"## {title}") :].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if "|" in line
    ]
    return {first: rest for first, *rest in cells}


def test_its_figures_are_those_of_metrics_json(run: Path) -> None:
    card = model_card(read_run(run), "mine")
    metrics = json.loads((run / "results" / "metrics.json").read_text(encoding="utf-8"))
    scores = rows(card, "Metrics")
    names = {"Accuracy": "accuracy", "Macro F1": "macro_f1", "Weighted AUC": "weighted_auc"}
    for label, name in names.items():
        for column, split in enumerate(("train", "val", "test")):
            document = metrics[split]
            low, high = document["ci95"][name]
            assert scores[label][column] == f"{document[name]:.4f} [{low:.3f}, {high:.3f}]"
    per_class = rows(card, "Scores of each class (test split)")
    for name, one in metrics["test"]["per_class"].items():
        assert per_class[name][0] == str(one["support"])
        assert per_class[name][2].startswith(f"{one['recall']:.4f}")
    assert rows(card, "Training data")[CLASSES[1]] == [str(COUNTS["train"][1])]
    after = metrics["test"]["calibration"]["after"]
    assert rows(card, "Calibration")["Brier score"][1].startswith(f"{after['brier']:.4f}")
    decided = metrics["test"]["malignant"]["operating_points"][0]
    assert rows(card, "Malignant versus benign")["predicted class"][0].startswith(
        f"{decided['sensitivity']:.4f}"
    )


def test_it_names_the_score_that_selected_the_epoch_and_the_loss(run: Path) -> None:
    facts = read_run(run)
    assert "Weighted F1 on validation selected the epoch." in model_card(facts, "mine")
    assert "log prior" not in model_card(facts, "mine")
    other = replace(facts, settings=facts.settings | {"select": "macro-f1", "logit_adjustment": 1.0})
    card = model_card(other, "mine")
    assert "Macro F1 on validation selected the epoch." in card
    assert card.count("1 times the log prior added to the logits in the loss") == 2
    assert "in the loss\n* Training: AdamW" in card


def test_it_has_the_sections_of_a_model_card_and_no_path(run: Path) -> None:
    card = model_card(read_run(run), "mine")
    titles = re.findall(r"^## (.+)$", card, re.MULTILINE)
    assert titles == [
        "Model details",
        "Intended use",
        "Factors",
        "Training data",
        "Evaluation data",
        "Metrics",
        "Scores of each class (test split)",
        "Malignant versus benign",
        "Calibration",
        "Limitations",
        "Ethical considerations",
        "TRIPOD+AI (2024)",
        "CLEAR Derm (2021)",
        "How to use",
    ]
    assert card.count("not a medical device") == 1
    assert "skin tone" in card
    assert str(run) not in card
    assert "torch: 2.6.0" in card
    assert "command line" not in card
    assert (
        "Fewer than 100 training images: Vascular lesions (12), Melanoma (40), Melanocytic nevi (90)." in card
    )


@pytest.mark.parametrize("outside", ["/home/jane/ward 7", r"C:\Users\jane\ward 7"])
def test_the_card_of_a_resumed_run_from_other_weights_holds_no_path(outside: str, tmp_path: Path) -> None:
    root = write_finished_run(tmp_path / "run", data_root=tmp_path)
    folder = RunFolder(root)
    weights = outside + ("\\" if "\\" in outside else "/") + "backbone.pth"
    folder.write_settings(Settings(data_root=Path(outside), init_weights=Path(weights), epochs=3))
    command = ["skinlesion", "train", "--data", outside, "--init-weights", weights]
    entry = environment(device="cpu (fp32)", command=command, seed=1, contents={"train": {}})
    record(folder.environment, entry, resumed=False)
    for _ in range(2):
        record(folder.environment, entry | {"cwd": outside}, resumed=True)
    facts = read_run(root)
    card = model_card(facts, "mine")
    assert "started from the weights in backbone.pth" in card
    assert "Resumed: 2 times" in card
    assert "Device: cpu (fp32)" in card
    for private in ("jane", "ward", str(tmp_path), "{'", "command"):
        assert private not in card, private
    # The page shows every entry, one below the other.
    (pairs,) = training.environment(facts).blocks
    names = [name for name, _ in pairs.pairs]
    assert {"resumed 1 › command", "resumed 2 › versions › torch"} <= set(names)
    assert not [text for _, text in pairs.pairs if "{'" in text]


def test_the_card_names_the_model_of_the_hub_that_the_run_started_from(tmp_path: Path) -> None:
    root = write_finished_run(tmp_path / "run", data_root=tmp_path)
    weights = Path("/home/jane/hub/models--me--skin-lesions/snapshots/0123abc/model.safetensors")
    RunFolder(root).write_settings(Settings(data_root=tmp_path, init_weights=weights))
    card = model_card(read_run(root), "mine")
    assert "started from the weights in me/skin-lesions of the hub, revision 0123abc" in card
    assert "jane" not in card


def test_names_are_not_markup(tmp_path: Path) -> None:
    root = write_finished_run(tmp_path / "run", ("a|b", "<b>c</b>", "*d* `e` _f_"))
    card = model_card(read_run(root), "x")
    assert "| a\\|b |" in card
    assert "| &lt;b&gt;c&lt;/b&gt; |" in card
    assert "\\*d\\* \\`e\\` \\_f\\_" in card
    assert "&lt;i&gt;B&lt;/i&gt;" in card


def test_a_card_that_a_person_edited_is_kept(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "MODEL_CARD.md"
    require_replaceable(path)
    write_card(read_run(run), path, title="mine")
    require_replaceable(path)
    path.write_text(path.read_text(encoding="utf-8").replace("skin tone", "age"), encoding="utf-8")
    with pytest.raises(InputError, match="edited by hand: choose another file with --card"):
        require_replaceable(path)
    path.write_text("# My card\n", encoding="utf-8")
    with pytest.raises(InputError, match="edited by hand"):
        require_replaceable(path)
