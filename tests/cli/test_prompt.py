"""The prompt itself: help, version, errors, and what is not imported."""

import json
import re
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import skinlesion_cli
from skinlesion_cli.cli.app import COMMANDS as COMMAND_LINES
from skinlesion_cli.cli.app import app
from skinlesion_cli.cli.help import first_paragraph
from skinlesion_cli.common.settings import FIELDS, spec
from tests.conftest import Run
from tests.support.processes import run_to_end

# Runs the command line, then prints the names of all modules that it imported as the last line of stderr.
WITH_MODULES = """
import json, sys
from skinlesion_cli.cli.app import main
try:
    main()
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""
HEAVY = {"torch", "torchvision", "timm", "sklearn", "scipy", "matplotlib", "numpy", "cv2"}
HEAVY |= {"onnx", "onnxruntime", "PIL", "safetensors", "huggingface_hub", "jinja2"}


def every_command(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The words and the definition of each command, groups of subcommands included."""
    yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from every_command(one, *path, name)


COMMANDS = dict(every_command(get_command(app)))


def test_every_command_is_found() -> None:
    assert {("train",), ("weights",), ("data",), ("data", "check"), ("data", "split")} < COMMANDS.keys()


def test_the_line_of_each_command_is_the_first_of_its_own_help() -> None:
    assert COMMAND_LINES.keys() == get_command(app).commands.keys()
    for name, line in COMMAND_LINES.items():
        assert COMMANDS[(name,)].help.split("\n\n")[0].replace("\n", " ") == line


def modules_of(command_environment: dict[str, str], *arguments: str) -> tuple[str, set[str]]:
    """Output of `skinlesion ARGUMENTS`, and the modules that the process imported."""
    command = [sys.executable, "-c", WITH_MODULES, *arguments]
    done = run_to_end(command, env=command_environment, seconds=120)
    return done.stdout, set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_names_every_option_and_imports_nothing_heavy(
    command_environment: dict[str, str], path: tuple[str, ...]
) -> None:
    text, imported = modules_of(command_environment, *path, "--help")
    assert text.split("[OPTIONS]")[0].split()[2:] == list(path)
    command = COMMANDS[path]
    for parameter in command.params:
        flags = [flag for flag in (*parameter.opts, *parameter.secondary_opts) if flag.startswith("-")]
        assert all(flag in text.replace(",", " ").replace("/", " ").split() for flag in flags), flags
    assert all(f"\n  {name} " in text for name in getattr(command, "commands", {}))
    assert "typer" in imported
    assert not imported & HEAVY


@pytest.mark.parametrize("arguments", [["weights"], ["weights", "--json"], ["--version"]], ids=" ".join)
def test_weights_import_nothing_heavy(command_environment: dict[str, str], arguments: list[str]) -> None:
    _, imported = modules_of(command_environment, *arguments)
    assert "skinlesion_cli" in imported
    assert not imported & HEAVY


def test_short_and_long_help_are_the_same(cli_run: Run) -> None:
    assert cli_run("-h").stdout == cli_run("--help").stdout


def test_help_takes_little_time(command_environment: dict[str, str]) -> None:
    # Processor time, which other processes hardly change; the best of three.
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run_to_end([sys.executable, "-m", "skinlesion_cli", "--help"], env=command_environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert 0 < min(taken) < 1.0


def test_the_version_is_the_packages(cli_run: Run) -> None:
    assert cli_run("--version").stdout == f"skinlesion {skinlesion_cli.__version__}\n"


def test_wrong_usage_gives_one_line(refused: Callable[..., str]) -> None:
    assert "No such option: --epoch" in refused("train", "--epoch", 3)
    assert "weight" in refused("weight")
    assert "IMAGE" in refused("predict")


def test_the_package_itself_imports_nothing_heavy() -> None:
    code = "import sys, skinlesion_cli; print(*sys.modules)"
    done = run_to_end([sys.executable, "-c", code])
    assert "skinlesion_cli" in done.stdout.split()
    assert not HEAVY & set(done.stdout.split())


def test_a_traceback_is_shown_only_when_asked_for(cli_run: Run, tmp_path: Path) -> None:
    quiet = cli_run("weights", "--counts", "absent.csv", code=2)
    assert len(quiet.stderr.splitlines()) == 1
    command = [sys.executable, "-m", "skinlesion_cli", "weights", "--counts", "absent.csv", "--verbose"]
    assert "Traceback" in run_to_end(command, code=2, cwd=tmp_path).stderr


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_cuts_no_line_and_has_one_style_of_defaults(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    text = CliRunner().invoke(app, [*path, "--help"], prog_name="skinlesion", terminal_width=80).output
    assert "..." not in text.replace("[ARGS]...", "").replace("[IMAGE…]...", "").replace("{IMAGE…}...", "")
    assert "default:" not in text
    assert "<" not in text
    shown = " ".join(text.split())
    for one in getattr(command, "commands", {}).values():
        line = COMMAND_LINES.get(one.name) or first_paragraph(one.help)
        assert line.replace("Grad-CAM", "Grad- CAM") in shown or line in shown


def test_the_help_of_train_is_in_groups(cli_run: Run) -> None:
    text = cli_run("train", "--help").stdout
    sections = dict(re.findall(r"^(\w[\w ]*):\n((?:  .*\n)+)", text, re.MULTILINE))
    assert list(sections) == ["Data", "Model", "Class balance", "Optimisation", "Machine", "Run"]
    for name in FIELDS:
        assert f"{spec(name).flags[0]}" in sections[spec(name).group]
    for flag in ("--out", "--resume", "--config", "--help"):
        assert flag in sections["Run"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tr", "train"),
        ("train --learn", "--learning-rate"),
        ("data ch", "check"),
        ("gradcam --fai", "--faithfulness"),
    ],
)
def test_a_shell_completes_commands_and_options(
    command_environment: dict[str, str], words: str, expected: str
) -> None:
    code = "import sys; sys.argv = ['skinlesion']; from skinlesion_cli.cli.app import main; main()"
    asked = {"_SKINLESION_COMPLETE": "complete_bash", "COMP_WORDS": f"skinlesion {words}"}
    env = command_environment | asked | {"COMP_CWORD": str(len(words.split()))}
    assert expected in run_to_end([sys.executable, "-c", code], env=env).stdout.split()
