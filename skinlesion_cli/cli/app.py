"""The command `skinlesion`: its subcommands, and how errors are reported."""

import errno
import os
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command

from skinlesion_cli.cli.help import Command, Group
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.common.errors import PeerError, SkinLesionError, one_line
from skinlesion_cli.common.files import user_cache_folder
from skinlesion_cli.common.signals import INTERRUPTED
from skinlesion_cli.common.version import __version__
from skinlesion_cli.common.world import has_joined, read_launch

LEADER_FIRST = 5.0
"""Seconds that other processes wait for the first one to report an error that all of them find."""

COMMANDS = {
    "train": "Train a classifier on DATA/train, select the epoch on DATA/val, score it on all splits.",
    "study": "Train several recipes on the same folds or seeds, and compare them.",
    "evaluate": "Score a checkpoint on a split, or a CSV file of predictions.",
    "compare": "Compare two models image by image: how much better is B than A, and is it more than chance?",
    "predict": "Predict the class of images.",
    "gradcam": "Show which parts of photographs are evidence for a class (Grad-CAM).",
    "serve": "Serve a local page for predictions, and a JSON API for other software.",
    "export": "Export a checkpoint for other programs, verified against PyTorch.",
    "report": "Make a self-contained HTML page and a model card from a finished run.",
    "weights": "Show each class's effective number, loss weight and sampling probability.",
    "demo": "Draw a small synthetic data set, and run the other commands on it, printing each command.",
    "data": "Audit a data set, split one, or build one from the published downloads.",
}
"""Each command with its line of help; it is the object of that name in the module of that name."""

_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "add_completion": False}


class _Command:
    """A command whose module is imported on first use, so that `--help` stays fast."""

    hidden = False

    def __init__(self, name: str) -> None:
        self.name = name

    def get_short_help_str(self, limit: int = 0) -> str:  # noqa: ARG002 - nothing is cut
        """The line of the command in the help of the program."""
        return COMMANDS[self.name]

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(import_module(f"skinlesion_cli.cli.{self.name}"), self.name)
        group = found if isinstance(found, typer.Typer) else typer.Typer(**_PLAIN)
        if group is not found:
            group.command(self.name, cls=Command)(found)
        return getattr(get_command(group), attribute)


class _Commands(Group):
    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self.commands: Any = {name: _Command(name) for name in COMMANDS}


app = typer.Typer(
    cls=_Commands,
    name="skinlesion",
    help="Train, evaluate, explain and export compact skin-lesion classifiers. "
    "A research tool, not a medical device.",
    epilog="Every setting is also an environment variable (SKINLESION_EPOCHS), a line of .env, "
    "and a key of a --config file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.out.print(f"skinlesion {__version__}")
        raise typer.Exit


_VERSION = typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")


@app.callback()
def _root(version: Annotated[bool, _VERSION] = False) -> None:
    pass


def main() -> None:
    """Run the command line; exit with 0, 1 (faults), 2 (wrong usage or input), 130 or 143 (signals)."""
    # Figures are files here. The backend that a notebook sets would break the import of matplotlib if it is
    # missing.
    os.environ.pop("MPLBACKEND", None)
    with suppress(SkinLesionError):  # matplotlib's list of fonts goes into our own cache folder.
        os.environ.setdefault("MPLCONFIGDIR", str(user_cache_folder() / "matplotlib"))
    try:
        code = app(standalone_mode=False)
    except SkinLesionError as error:
        _stop(error, str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of our output has exited, as `head` does; Python must not try to flush again.
        sys.stderr.close()
        sys.exit(1)
    except (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError) as error:
        _stop(error, f"cannot use {error.filename}: {error.strerror}", 1)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            _stop(error, f"cannot write {error.filename or 'the output'}: {error.strerror}", 1)
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            sys.exit(2)
        usage = getattr(error, "format_message", None)
        if usage is not None:
            _stop(error, f"{usage()} (see --help)", getattr(error, "exit_code", 2))
        text = f"unexpected {type(error).__name__}: {one_line(error, 300)}; add --verbose for the traceback"
        _stop(error, text, 1)
    # What typer returns after Ctrl-C.
    if code == INTERRUPTED:
        console.fail("interrupted")
    sys.exit(code if isinstance(code, int) else 0)


def _stop(error: Exception, text: str, code: int) -> None:
    if isinstance(error, PeerError):
        # The other process reports the error. A normal exit would wait for peers that are gone, until
        # torchrun kills this process.
        os._exit(code)
    console.fail(_who() + text)
    if has_joined():
        # On a normal exit, the threads of the process group would find their peers gone, and abort.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _who() -> str:
    """A prefix that names the failing process, empty for the first or only one."""
    try:
        rank = read_launch().rank
    except SkinLesionError:
        return ""
    if rank > 0 and not console.err.quiet:
        # The process group is not joined yet: most likely all processes fail in the same way. The first one
        # reports the error, and torchrun then ends this process, which reports only if no other one fails.
        time.sleep(LEADER_FIRST)
    return f"process {rank}: " if rank > 0 else ""
