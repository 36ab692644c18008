"""The command `skinlesion`: its subcommands, and how errors are reported."""

import os
import sys
import time
from typing import Annotated

import typer

from skinlesion_cli.cli import (
    compare,
    console,
    data,
    demo,
    evaluate,
    export,
    gradcam,
    predict,
    report,
    train,
    weights,
)
from skinlesion_cli.common.errors import PeerError, SkinLesionError, one_line
from skinlesion_cli.common.signals import INTERRUPTED
from skinlesion_cli.common.version import __version__

LEADER_FIRST = 5.0
"""Seconds that other processes wait for the first one to report an error that all of them find."""

app = typer.Typer(
    rich_markup_mode=None,
    name="skinlesion",
    help="Train, evaluate, explain and export compact skin-lesion classifiers. "
    "A research tool, not a medical device.",
    epilog="Every setting is also an environment variable (SKINLESION_EPOCHS), a line of .env, "
    "and a key of a --config file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("predict")(predict.predict)
app.command("gradcam")(gradcam.gradcam)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("weights")(weights.weights)
app.add_typer(data.app, name="data")
app.command("demo")(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.out.print(f"skinlesion {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; exit with 0, 1 (faults), 2 (wrong usage or input), 130 or 143 (signals)."""
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
    sys.exit(code)


def _who() -> str:
    """A prefix that names the failing process, empty for the first or only one."""
    from skinlesion_cli.common.world import read_launch

    try:
        rank = read_launch().rank
    except SkinLesionError:
        return ""
    if rank > 0 and not console.err.quiet:
        # The process group is not joined yet: most likely all processes fail alike. The first one reports the
        # error, and torchrun then ends this process, which reports only if it is the only one to fail.
        time.sleep(LEADER_FIRST)
    return f"process {rank}: " if rank > 0 else ""
