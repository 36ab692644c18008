"""`skinlesion demo`."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from rich.text import Text

from skinlesion_cli.cli.options import option, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import ensure_writable_folder
from skinlesion_cli.common.settings import Settings

# Takes three minutes on two cores; with random weights, so that nothing is downloaded.
TRAINING = "--arch resnet10t --no-pretrained --img-size 96 --epochs 3 --batch-size 16 --lr 0.0005"
_OUT = option("--out", "A new folder for the drawn data and the results.", "DIR")


@with_settings("seed")
def demo(*, settings: Settings, out: Annotated[Path, _OUT] = Path("skinlesion-demo")) -> int:
    """Draw a small synthetic data set, and run the other commands on it, printing each command."""
    from skinlesion_cli.curation.synthetic import write_data_set

    if out.exists():
        raise InputError(f"{out} already exists: remove it, or choose another folder with --out")
    ensure_writable_folder(out)
    data = out / "data"
    console.out.print("Drawing a synthetic data set: 14 kinds of lesions, no photographs, no patients.")
    images = write_data_set(data, settings.seed)
    console.say(f"{images} JPEG files in {data}")

    checkpoint = out / "checkpoints" / "best_model.pth"
    picture = data / "test" / "synthetic two-tone" / "000.jpg"
    heat, page = out / "heat.png", out / "report.html"
    for command in (
        ["weights", "--data", str(data)],
        ["train", "--data", str(data), "--out", str(out), *TRAINING.split(), "--seed", str(settings.seed)],
        ["evaluate", "--data", str(data), "--checkpoint", str(checkpoint), "--out", str(out / "evaluation")],
        ["predict", str(picture), "--checkpoint", str(checkpoint)],
        ["gradcam", str(picture), "--checkpoint", str(checkpoint), "--out", str(heat)],
        ["report", str(out), "--out", str(page)],
    ):
        if code := _show_and_run(command):
            return code
    _say_what_next(out, heat, page)
    return 0


def _show_and_run(command: list[str]) -> int:
    console.out.print(Text(f"\n$ {shlex.join(['skinlesion', *command])}", style="bold"), soft_wrap=True)
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", "skinlesion_cli", *command], check=False).returncode


def _say_what_next(out: Path, heat: Path, page: Path) -> None:
    lines = [
        "\nDone. The data are synthetic: the scores show that the tool works, and say nothing about skin.",
        f"  drawn images   {out / 'data'}",
        f"  model          {out / 'checkpoints' / 'best_model.pth'}",
        f"  scores         {out / 'results'}, {out / 'evaluation'}",
        f"  heat map       {heat}",
        f"  page           {page}: open it in a browser",
        "\nNext, with your own photographs in data/train/CLASS/, data/val/CLASS/ and data/test/CLASS/:",
        "  skinlesion train --data ./data",
    ]
    console.out.print("\n".join(lines), soft_wrap=True)
