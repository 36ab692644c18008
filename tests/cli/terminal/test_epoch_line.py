import pytest

from skinlesion_cli.cli.terminal.epoch_line import epoch_line
from skinlesion_cli.common.events import EpochDone, EpochRecord

RECORD = EpochRecord(9, 1.2345, 0.5, 2.3456, 0.8123, 0.7654, 0.0003, True, 0.6543, 0.5432, 0.9321)


@pytest.mark.parametrize("width", [40, 60, 79, 80, 100, 120])
def test_the_line_of_an_epoch_fits_with_all_its_figures(width: int) -> None:
    line = epoch_line(EpochDone(RECORD, 60), width).plain
    assert max(map(len, line.splitlines())) <= width
    assert (len(line.splitlines()) == 1) == (width >= 79)
    assert line.startswith("epoch  9/60  ")
    assert line.endswith("  *")
    for figure in ("loss 1.2345", "val loss 2.3456", "0.8123", "0.7654"):
        assert figure in line
    assert ("train loss" in line) == (width >= 110)


@pytest.mark.parametrize(
    ("select", "shown"),
    [
        ("loss", "val weighted F1 0.7654"),
        ("macro-f1", "val macro F1 0.6543"),
        ("balanced-accuracy", "val balanced accuracy 0.5432"),
        ("weighted-auc", "val weighted AUC 0.9321"),
    ],
)
def test_the_line_of_an_epoch_has_the_score_that_selects(select: str, shown: str) -> None:
    assert shown in epoch_line(EpochDone(RECORD, 60, select), 120).plain
    for width in (40, 80):
        narrow = epoch_line(EpochDone(RECORD, 60, select), width).plain
        assert shown.split()[-1] in narrow
        assert max(map(len, narrow.splitlines())) <= width
