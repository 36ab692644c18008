"""MLflow: a database and a folder of figures in the folder of the run, or the user's own server."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from skinlesion_cli.tracking.tracker import Run


class Tracker:
    """One MLflow run, with the settings as its parameters."""

    def __init__(self, run: Run):
        # Read when mlflow is imported: it would send usage data to its vendor.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        # They report the creation of a database on stderr.
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        local = f"sqlite:///{run.folder.absolute() / 'mlflow.db'}"
        server = os.environ.get("MLFLOW_TRACKING_URI")
        self.view = server or f'mlflow ui --backend-store-uri "{local}"'
        self._client = MlflowClient(server or local)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "skinlesion")
        experiment = self._client.get_experiment_by_name(name)
        pictures = None if server else (run.folder.absolute() / "mlflow").as_uri()
        place = experiment.experiment_id if experiment else self._client.create_experiment(name, pictures)
        found = self._client.search_runs([place], f"tags.skinlesion_id = '{run.id}'") if run.resumed else []
        tags = {"skinlesion_id": run.id}
        made = found[0] if found else self._client.create_run(place, tags=tags, run_name=run.name)
        self._run = made.info.run_id
        self._client.update_run(self._run, "RUNNING")
        # Parameters cannot change: the initial ones are kept.
        for key, value in {} if found else run.settings.items():
            self._client.log_param(self._run, key, value)

    def log(self, figures: Mapping[str, float], epoch: int) -> None:
        """Log values as MLflow metrics."""
        for name, value in figures.items():
            self._client.log_metric(self._run, name, value, step=epoch)

    def picture(self, name: str, file: Path, epoch: int) -> None:  # noqa: ARG002
        """Log a figure as an MLflow artifact."""
        self._client.log_artifact(self._run, str(file), "pictures")

    def end(self, *, finished: bool) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")
