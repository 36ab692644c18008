import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.support.captures import assert_shown, blocks

ROOT = Path(__file__).parents[2]
README, COMPARE = ROOT / "README.md", ROOT / "docs" / "compare.md"


@pytest.mark.slow
def test_the_demo_runs_every_command_and_says_what_is_next(cli_run: Run, tmp_path: Path) -> None:
    done = cli_run("demo", env={"COLUMNS": "100"})
    text = done.stdout
    # The README shows what the demo prints: notes and progress first, then results.
    for command in ("skinlesion train --data ./data", "skinlesion evaluate --data ./data --split test"):
        (block,) = blocks(README, command)
        assert_shown(block, done.stderr + text)
    assert "synthetic" in text.splitlines()[0]
    compared = COMPARE.read_text(encoding="utf-8")
    for command in ("evaluate --data skinlesion-demo/data", "compare skinlesion-demo"):
        (line,) = re.findall(rf"^skinlesion ({command}.*)$", compared, re.MULTILINE)
        done = cli_run(*shlex.split(line), env={"COLUMNS": "100"})
    (block,) = blocks(COMPARE, "skinlesion evaluate --data skinlesion-demo/data")
    # On another processor, a few images may be decided otherwise.
    assert_shown(block, done.stdout, most=3.0)
    shown = [line.split()[2] for line in text.splitlines() if line.startswith("$ skinlesion ")]
    assert shown == ["weights", "train", "evaluate", "predict", "gradcam", "report"]
    root = tmp_path / "skinlesion-demo"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "flipped", root]
    for made in ("checkpoints/best_model.pth", "results/metrics.json", "evaluation/metrics.json", "heat.png"):
        assert (root / made).is_file()
    assert len(list((root / "data").rglob("*.jpg"))) == 460
    assert text.rstrip().endswith("skinlesion train --data ./data")


def test_an_earlier_demo_is_not_touched(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "skinlesion-demo").mkdir()
    assert "skinlesion-demo already exists" in refused("demo")
    assert not list((tmp_path / "skinlesion-demo").iterdir())
