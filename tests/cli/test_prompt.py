"""The prompt itself: help, version, errors, and what is not imported."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import skinlesion_cli
from tests.conftest import Run

COMMANDS = ("train", "evaluate", "predict", "gradcam", "export", "weights", "demo")


def test_help_names_every_command(cli_run: Run) -> None:
    for flag in ("-h", "--help"):
        text = cli_run(flag).stdout
        assert all(f"\n  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli_run: Run, command: str) -> None:
    assert "--help" in cli_run(command, "-h").stdout


def test_train_offers_every_setting(cli_run: Run) -> None:
    text = cli_run("train", "--help").stdout
    for flag in ("--data,", "--arch,", "--lr", "--alpha", "--beta", "--epoch-size-mult", "--no-pretrained"):
        assert flag in text


def test_the_version_is_the_packages(cli_run: Run) -> None:
    assert cli_run("--version").stdout == f"skinlesion {skinlesion_cli.__version__}\n"


def test_wrong_usage_is_one_line(refused: Callable[..., str]) -> None:
    assert "No such option: --epoch" in refused("train", "--epoch", 3)
    assert "weight" in refused("weight")
    assert "IMAGE" in refused("predict")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["weights"], ["weights", "--json"]])
def test_the_prompt_answers_without_heavy_imports(arguments: list[str]) -> None:
    # -X importtime lists every module that a real process imports.
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "skinlesion_cli", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    heavy = {"torch", "torchvision", "timm", "sklearn", "scipy", "matplotlib", "numpy", "PIL", "safetensors"}
    assert not imported & heavy


def test_the_package_itself_imports_nothing_heavy() -> None:
    code = "import sys, skinlesion_cli; assert not {'torch', 'timm', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_traceback_is_shown_only_when_asked_for(cli_run: Run, tmp_path: Path) -> None:
    quiet = cli_run("weights", "--counts", "absent.csv", code=2)
    assert len(quiet.stderr.splitlines()) == 1
    done = subprocess.run(
        [sys.executable, "-m", "skinlesion_cli", "weights", "--counts", "absent.csv", "--verbose"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" in done.stderr
