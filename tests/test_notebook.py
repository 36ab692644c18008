"""The code of docs/notebook.md, run as the one script that the page says it is."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import draw_data_set

PAGE = Path(__file__).parents[1] / "docs" / "notebook.md"


def test_the_notebook_session_runs(tmp_path: Path, command_environment: dict[str, str]) -> None:
    draw_data_set(tmp_path / "data", {"train": (12, 7, 4), "val": (4, 3, 2), "test": (4, 3, 2)})
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 10
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env=command_environment | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Progress goes to the callback: nothing is printed but what the page prints.
    assert done.stderr == ""
    assert "epoch 1/1: validation weighted F1" in done.stdout
    assert "best epoch: 1" in done.stdout
    assert {"metrics.json", "predictions.csv"} <= {path.name for path in (tmp_path / "evaluation").iterdir()}
    assert (tmp_path / "heat-0.png").stat().st_size > 1000
