import sys
import time
from pathlib import Path

import pytest

from skinlesion_cli.cli import app
from skinlesion_cli.cli.terminal import console
from tests.conftest import Run
from tests.support.processes import run_to_end


def test_the_first_of_several_processes_reports_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each finds the wrong option by itself. torchrun ends the others when the leading one has ended; only
    # where it does not, as on a machine with other settings, they speak.
    for name, value in {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["skinlesion", "train", "--epochs", "0"])
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(console, "err", console._console(stderr=True))
    said = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(SystemExit) as stop:
            app.main()
        assert stop.value.code == 2
        said.append(capsys.readouterr().err)
    assert said[0].startswith("error: --epochs: 0 is out of range")
    assert said[1].startswith("error: process 1: --epochs: 0 is out of range")
    assert waited == [app.LEADER_FIRST]


def test_an_unknown_variable_gives_one_warning(cli_run: Run) -> None:
    done = cli_run("weights", "--json", env={"SKINLESION_LOSS_BETTA": "0.5"})
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: unknown environment variable SKINLESION_LOSS_BETTA is ignored")
    assert "did you mean SKINLESION_LOSS_BETA" in line
    assert done.json()["beta"] == 0.999


@pytest.mark.parametrize(("arguments", "listed"), [([], "  train "), (["data"], "  split ")])
def test_without_a_command_the_help_is_shown(cli_run: Run, arguments: list[str], listed: str) -> None:
    lines = cli_run(*arguments, code=2).stderr.splitlines()
    assert lines[0].startswith("Usage: ")
    assert any(line.startswith(listed) for line in lines)
    assert not [line for line in lines if "error" in line or "\\n" in line]


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "absent"])
def test_figures_need_no_backend_of_a_notebook(cli_run: Run, tmp_path: Path, backend: str) -> None:
    (tmp_path / "p.csv").write_text("image,y_true,a,b\n1,a,0.8,0.2\n2,b,0.2,0.8\n", encoding="utf-8")
    cli_run("evaluate", "--predictions", "p.csv", "--out", "o", env={"MPLBACKEND": backend})
    assert (tmp_path / "o" / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["weights"]])
def test_help_and_weights_import_neither_torch_nor_numpy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom skinlesion_cli.cli.app import main\n"
        f"sys.argv = ['skinlesion', *{arguments!r}]\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'torch', 'torchvision', 'timm', 'numpy', 'scipy', 'sklearn', 'matplotlib', 'PIL'}\n"
        "    print('heavy:', *sorted(heavy & sys.modules.keys()), file=sys.stderr)\n"
        "    slow = {'pydantic', 'pydantic_settings'}\n"
        "    print('slow:', *sorted(slow & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = run_to_end([sys.executable, "-c", code])
    # Without a source of settings other than options, pydantic-settings is not needed.
    slow = "slow:" if arguments == ["--help"] else "slow: pydantic"
    assert done.stderr.splitlines() == ["heavy:", slow]
