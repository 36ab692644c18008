"""Weights & Biases: a folder for `wandb sync`, or, with the user's WANDB_MODE=online, the service itself."""

import os
from pathlib import Path
from typing import Any, cast

from skinlesion_cli.tracking.tracker import Run, StepLog


class Tracker(StepLog):
    """One W&B run, with the settings as its config."""

    def __init__(self, run: Run):
        # wandb's own error reports would be sent to its vendor.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        mode = cast(Any, os.environ.get("WANDB_MODE", "offline"))
        # Only the metrics and figures are recorded, nothing about the machine.
        quiet = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            save_code=False,
            x_disable_stats=True,
            x_disable_meta=True,
        )
        self._image = wandb.Image
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "skinlesion"),
            name=run.name,
            id=run.id,
            dir=os.environ.get("WANDB_DIR", str(run.folder)),
            config=run.settings,
            # Offline, this creates a second folder with the same ID, which `wandb sync` merges with the
            # first.
            resume="allow" if run.resumed else None,
            mode=mode,
            settings=quiet,
        )
        folder = Path(self._run.dir).parent.parent
        sync = f'wandb sync "{folder}"/offline-run-*-{run.id}'
        self.view = str(self._run.url) if mode == "online" else f"offline; to upload it: {sync}"

    def end(self, *, finished: bool) -> None:
        """Say how the run ended."""
        self._run.finish(exit_code=0 if finished else 1)
