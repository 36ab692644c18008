import dataclasses
import json

import pytest

from skinlesion_cli.curation.check_log import LastCheck
from skinlesion_cli.report.content import Table
from skinlesion_cli.report.facts import RunFacts, read_run
from skinlesion_cli.report.sections.guidelines import CLEAR_DERM, OPEN, TRIPOD_AI, clear_derm, tripod_ai
from skinlesion_cli.report.sections.limits import limits
from tests.support.finished_run import CLASSES, write_finished_run


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RunFacts:
    return read_run(write_finished_run(tmp_path_factory.mktemp("run")))


def answers(facts: RunFacts, which: str = "tripod") -> dict[str, str]:
    """What the run says to each item."""
    _, one = (tripod_ai if which == "tripod" else clear_derm)(facts).blocks
    assert isinstance(one, Table)
    return {str(row[0]): str(row[2]) for row in one.rows}


def test_every_item_is_there_once() -> None:
    # TRIPOD+AI has 27 items, 52 with their parts; CLEAR Derm has 25.
    numbers = [number for number, _, _ in TRIPOD_AI]
    assert (len(numbers), len(set(numbers))) == (52, 52)
    assert sorted({int(number.rstrip("abcdefg")) for number in numbers}) == list(range(1, 28))
    assert [number for number, _, _ in CLEAR_DERM] == [str(number) for number in range(1, 26)]


def test_the_run_fills_what_it_knows(facts: RunFacts) -> None:
    found = answers(facts)
    metrics = json.loads((facts.folder.results / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert f"Weighted F1 {metrics['weighted_f1']:.3f} [" in found["23a"]
    assert found["8a"].startswith(f"One of 3 classes: {', '.join(CLASSES)}")
    assert "training 142, validation 28, test 34" in found["10"]
    assert found["21"].endswith("Melanoma 40, Melanocytic nevi 90, Vascular lesions 12")
    assert "best epoch 2 of 3" in found["12c"]
    assert "expected for 3.0% of images like them" in found["27a"]
    assert "expected for 3.0% of images like them" in answers(facts, "derm")["15"]
    assert any("warning is expected for 3.0% of images" in text for text in limits(facts))


def test_what_the_run_cannot_know_is_open(facts: RunFacts) -> None:
    found, derm = answers(facts), answers(facts, "derm")
    for number in ("2", "3b", "5b", "6b", "8b", "14", "17", "18a", "19", "20b", "25"):
        assert found[number] == OPEN
    for number in ("1", "8", "12", "16", "18", "23"):
        assert derm[number] == OPEN
    text = tripod_ai(facts).blocks[0].text  # type: ignore[union-attr]
    unknown = sum(one == OPEN for one in found.values())
    partly = sum(OPEN in one for one in found.values()) - unknown
    assert (
        f"{52 - unknown - partly} are filled in from the run, {partly} in part, and {unknown} are open"
        in text
    )


def test_other_runs_fill_other_items(facts: RunFacts) -> None:
    less = dataclasses.replace(facts, false_alarm_rate=None)
    assert answers(less, "derm")["15"] == OPEN
    assert "expected" not in answers(less)["27a"]
    padded = dataclasses.replace(facts, settings={**facts.settings, "fit": "pad"})
    assert "pad to a square of 256 pixels" in answers(padded)["7"]
    document = {**facts.document, "subgroups": {"sex": {}, "age": {}}}
    by = dataclasses.replace(facts, documents={**facts.documents, "test": document})
    assert answers(by)["14"] == "Scores by sex, age, with intervals"
    check = LastCheck("2026-01-02", "0 of 34 test images.", leaking=False, outdated=False)
    checked = answers(dataclasses.replace(facts, check=check), "derm")["10"]
    assert checked.endswith("Checked for leaks on 2026-01-02: 0 of 34 test images.")
