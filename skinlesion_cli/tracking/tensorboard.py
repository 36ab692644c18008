"""TensorBoard: event files in the folder of the run, written by torch's own `SummaryWriter`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from skinlesion_cli.tracking.tracker import Run


class Tracker:
    """Metrics under SCALARS, settings under HPARAMS, figures under IMAGES."""

    def __init__(self, run: Run):
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        folder = run.folder / "tensorboard"
        if not run.resumed:
            # Event files of a replaced run would be drawn in the same curves.
            for earlier in folder.glob("events.out.tfevents.*"):
                earlier.unlink()
        self.view = f'tensorboard --logdir "{folder}"'
        self._writer = cast(Any, SummaryWriter(str(folder)))
        if not run.resumed:
            shown = dict.fromkeys(("val_weighted_f1", "test/weighted_f1"), 0.0)
            # Not `add_hparams`, which writes to a run of its own.
            for part in hparams(run.settings, shown):  # type: ignore[no-untyped-call]
                self._writer.file_writer.add_summary(part)

    def log(self, figures: Mapping[str, float], epoch: int) -> None:
        """Log values, in float32."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def picture(self, name: str, file: Path, epoch: int) -> None:
        """Log a figure."""
        import numpy as np
        from PIL import Image

        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        self._writer.add_image(name, pixels, epoch, dataformats="HWC")

    def end(self, *, finished: bool) -> None:  # noqa: ARG002
        """Close the file; it does not say how a run ended."""
        self._writer.close()
