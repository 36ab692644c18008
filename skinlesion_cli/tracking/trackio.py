"""Trackio: its own store on this machine, which all runs share, or what the TRACKIO_… variables name."""

import contextlib
import io
import os

from skinlesion_cli.tracking.tracker import Run, StepLog


class Tracker(StepLog):
    """One Trackio run, with the settings as its config."""

    def __init__(self, run: Run):
        project = os.environ.get("TRACKIO_PROJECT", "skinlesion")
        # It prints to stdout, where results belong.
        with contextlib.redirect_stdout(io.StringIO()):
            import trackio

            self._image, self._finish = trackio.Image, trackio.finish
            self._run = trackio.init(
                project=project,
                # Runs are identified by their names, which therefore must be unique.
                name=f"{run.name}-{run.id}",
                config=run.settings,
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self.view = f'trackio show --project "{project}"'

    def end(self, *, finished: bool) -> None:  # noqa: ARG002
        """Write what is buffered; Trackio does not record how a run ended."""
        with contextlib.redirect_stdout(io.StringIO()):
            self._finish()
