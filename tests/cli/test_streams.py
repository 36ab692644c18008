"""Output of real commands: in encodings without our signs, on narrow terminals, and into closed streams."""

import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY, Run, draw_data_set
from tests.support.processes import Finished, run_to_end

PREDICTIONS = "image,y_true,Nævus é,中 plaque,a long name of a class\n" + "".join(
    f"{n}.jpg,{true},{p},{q},{1 - p - q:.4f}\n"
    for n, (true, p, q) in enumerate(
        [("Nævus é", 0.8125, 0.125), ("中 plaque", 0.25, 0.5), ("a long name of a class", 0.375, 0.5)] * 4
    )
)
COMMANDS = {
    "weights": "weights",
    "evaluate": "evaluate --predictions p.csv --out o",
    "compare": "compare p.csv p.csv",
    "check": "data check d --no-near --num-workers 0",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("streams")
    (made / "p.csv").write_text(PREDICTIONS, encoding="utf-8")
    draw_data_set(made / "d", {"train": (2, 2), "val": (1, 1)})
    return made


@pytest.fixture(scope="module")
def in_full(run_in: Run, folder: Path) -> dict[str, str]:
    """What each command prints where there is room."""
    return {one: run_in(folder, *one.split(), env={"COLUMNS": "200"}).stdout for one in COMMANDS.values()}


Shell = Callable[..., Finished]


@pytest.fixture
def in_shell(command_environment: dict[str, str], folder: Path) -> Shell:
    """Run `skinlesion ARGUMENTS` with redirections in a shell; it prints the exit code."""
    plain = {name: value for name, value in command_environment.items() if name != "COLUMNS"}

    def run(arguments: str, redirected: str, **env: str) -> Finished:
        line = f"({shlex.quote(sys.executable)} -m skinlesion_cli {arguments} {redirected}); echo exit $?"
        return run_to_end(["sh", "-c", line], cwd=folder, env=plain | env)

    return run


def numbers(text: str) -> Counter[str]:
    """Every number of the tables, and every interval as it is printed."""
    return Counter(re.findall(r"\[[^\[\]\n]*\]|\d+\.\d+%?", text))


@pytest.mark.parametrize("width", ["0", "40", "80"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_narrow_terminal_gets_every_number(
    run_in: Run, folder: Path, in_full: dict[str, str], command: str, width: str
) -> None:
    wide = in_full[command]
    done = run_in(folder, *command.split(), env={"COLUMNS": width})
    assert numbers(done.stdout) == numbers(wide)
    assert numbers(wide).total() > 10 or "check" in command
    if width != "0" and "check" not in command:
        assert max(map(len, done.stdout.splitlines())) <= int(width)


@pytest.mark.parametrize("encoding", ["ascii:strict", "cp1252"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_encoding_stops_a_command(
    in_shell: Shell, folder: Path, in_full: dict[str, str], command: str, encoding: str
) -> None:
    name = encoding.partition(":")[0]
    done = in_shell(command, "> out 2> err", PYTHONIOENCODING=encoding)
    assert done.stdout == "exit 0\n"
    shown = (folder / "out").read_bytes().decode(name)
    assert "error" not in (folder / "err").read_bytes().decode(name)
    assert numbers(shown) == numbers(in_full[command])
    if command.startswith("evaluate"):
        assert "\\u4e2d plaque" in shown
        assert ("Nævus" in shown) == (name != "ascii")


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_closed_stream_stops_no_command(in_shell: Shell, folder: Path, command: str, closed: str) -> None:
    written = folder / "o" / "metrics.json"
    written.unlink(missing_ok=True)
    done = in_shell(command, closed)
    assert done.stdout.endswith("exit 0\n")
    assert "error" not in done.stderr
    assert written.exists() == command.startswith("evaluate")


def test_the_commands_that_run_a_model(
    run_in: Run, folder: Path, checkpoint: Path, picture: Path, exported: Path
) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii", "COLUMNS": "45"}
    done = run_in(folder, "predict", picture, "--checkpoint", exported, env=ascii_only)
    assert len(re.findall(r"\d+\.\d%", done.stdout)) == 3
    assert "#" not in done.stdout
    done = run_in(folder, "gradcam", picture, "--checkpoint", checkpoint, "--out", "h.png", env=ascii_only)
    assert re.search(r"\(\d+x\d+\), figure: h.png", done.stdout)


def test_train_needs_no_stream(in_shell: Shell, folder: Path) -> None:
    arguments = ["train", "--data", "d", *TINY, "--epochs", "1", "--num-workers", "0", "--out", "run"]
    assert in_shell(shlex.join(arguments), "<&- >&- 2>&-").stdout == "exit 0\n"
    assert (folder / "run" / "results" / "metrics.json").exists()


def test_a_full_disk_gives_one_line(in_shell: Shell) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    done = in_shell("weights", "> /dev/full")
    assert done.stdout == "exit 1\n"
    assert done.stderr == "error: cannot write the output: No space left on device\n"
