"""The facts of a finished run, read from its folder: the only source of the page and the model card."""

import csv
import dataclasses
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.common.files import is_folder, read_text
from skinlesion_cli.common.limits import MAX_CLASSES, MAX_PLAIN_BYTES
from skinlesion_cli.curation.check_log import LastCheck, read_check
from skinlesion_cli.data.splits import SPLITS, is_table, require_folder
from skinlesion_cli.metrics.predictions import Predictions, read_predictions
from skinlesion_cli.report.figures import LABELS
from skinlesion_cli.training.run_folder import RunFolder

Document = Mapping[str, Any]
DOCUMENT_KEYS = {
    *("n", "classes", "per_class", "confusion_matrix", "ci95", "ci95_method", "resampling_unit", "malignant"),
    *("blocks", "calibration", "selective", "warnings", *LABELS),
}
"""Keys of an evaluation document that the report needs."""


@dataclass(frozen=True)
class RunFacts:
    """A finished run of `skinlesion train`; `settings`, `environment` and `history` are files in results/.

    A file that is missing leaves its field empty or None.
    """

    folder: RunFolder
    documents: dict[str, Document]
    """The evaluation document of each split; see docs/formats.md."""
    best_epoch: int
    """From 1."""
    epochs: int
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    history: tuple[EpochRecord, ...] = ()
    predictions: Predictions | None = None
    """results/SPLIT_predictions.csv of the main split."""
    data_root: Path | None = None
    """The data set's folder or table; None if it is unknown or missing."""
    images_root: Path | None = None
    """Of a table, the folder that its files are relative to."""
    evaluated: Document | None = None
    """The document with subgroups that `evaluate --by` has written for the main split."""
    evaluated_missing: str = ""
    """Why such a document was not used, if there is one."""
    check: LastCheck | None = None
    """The last `skinlesion data check` of that folder."""
    false_alarm_rate: float | None = None
    """Expected share of images like the training images that get the out-of-distribution warning."""

    @property
    def split(self) -> str:
        """The main split, whose scores count: test, or the next best one."""
        return _main_split(self.documents)

    @property
    def document(self) -> Document:
        """The evaluation document of that split."""
        return self.documents[self.split]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the model's order."""
        return tuple(self.document["classes"])

    @property
    def counts(self) -> dict[str, int]:
        """Training images of each class; empty if unknown."""
        scored = self.documents.get("train", {}).get("per_class", {})
        return {name: int(one["support"]) for name, one in scored.items()}

    @property
    def arch(self) -> str:
        """Name of the backbone in timm, or "unknown"."""
        return str(self.settings.get("model_arch", "unknown"))

    @property
    def grouped(self) -> bool:
        """Whether the intervals resample whole lesions or patients."""
        return bool(self.document["resampling_unit"] == "groups")

    @property
    def leaking(self) -> bool:
        """Whether the data are known to leak between the splits."""
        return self.check is not None and not self.check.outdated and self.check.leaking is True

    @property
    def predictions_missing(self) -> str:
        """Why there are no predictions."""
        return f"results/{self.split}_predictions.csv was not found"


def read_run(root: Path, data: Path | None = None, images: Path | None = None) -> RunFacts:
    """Read the folder that `train --out` wrote; without `data`, the settings give the data set.

    `images` is the folder of the images of a table, as in `read_split`.

    Raises:
        InputError: it is not the folder of a finished run, or one of its files is damaged.
    """
    folder = RunFolder(root)
    results = folder.results
    metrics = _read_metrics(results / "metrics.json")
    settings = _read(results / "settings.toml", tomllib.loads)
    known = data or (Path(str(settings["data_root"])) if "data_root" in settings else None)
    data_root = known if known is not None and (is_folder(known) or is_table(known)) else None
    if data is not None and data_root is None:
        raise InputError(f"there is no folder or table {data}; give the data set with --data")
    if data_root is not None and images is not None and not is_table(data_root):
        require_folder(data_root, images)
    if data is None and images is None and "images_root" in settings:
        images = Path(str(settings["images_root"]))
    documents = {name: metrics[name] for name in SPLITS if _is_document(metrics.get(name))}
    split = _main_split(documents)
    predictions = results / f"{split}_predictions.csv"
    evaluated, reason = _evaluated(results / "evaluation" / split / "metrics.json", documents[split])
    environment = _read(results / "environment.json", json.loads)
    if not isinstance(environment, dict):
        raise InputError(f"cannot read {results / 'environment.json'}: not a JSON object")
    return RunFacts(
        folder=folder,
        documents=documents,
        best_epoch=metrics["best_epoch"],
        epochs=metrics["epochs"],
        settings=settings,
        environment=environment,
        history=_read(results / "history.csv", _history) or (),
        predictions=_matching(predictions, documents[split]) if predictions.is_file() else None,
        data_root=data_root,
        evaluated=evaluated,
        evaluated_missing=reason,
        images_root=images,
        check=None if data_root is None else read_check(data_root, images),
        false_alarm_rate=_share_or_none(metrics.get("false_alarm_rate")),
    )


def _evaluated(path: Path, scored: Document) -> tuple[Document | None, str]:
    """The document of `evaluate --by`, if it is for the scored predictions; otherwise the reason."""
    found = _read(path, json.loads)
    if not _is_document(found) or not found.get("subgroups"):
        return None, ""
    if any(found[name] != scored[name] for name in ("n", "classes", "confusion_matrix")):
        return None, f"{path.name} of evaluate --by is for other predictions than the scores of this run"
    return found, ""


def _main_split(documents: Mapping[str, Document]) -> str:
    return next(name for name in ("test", "val", "train") if name in documents)


def _read_metrics(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"there is no {path}: give the folder that skinlesion train wrote, after training has finished"
        )
    metrics: dict[str, Any] = _read(path, json.loads)
    fault = ""
    if not isinstance(metrics, dict) or not any(_is_document(metrics.get(name)) for name in SPLITS):
        fault = "it has no complete scores of train, val or test"
    elif unknown := [name for name in ("best_epoch", "epochs") if not isinstance(metrics.get(name), int)]:
        fault = f"{unknown[0]} is not a whole number"
    if fault:
        raise InputError(f"{path} is not what skinlesion train writes: {fault}")
    return metrics


def _is_document(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() >= DOCUMENT_KEYS:
        return False
    classes, per_class = value["classes"], value["per_class"]
    if not isinstance(classes, list) or not isinstance(per_class, dict) or len(classes) > MAX_CLASSES:
        return False
    return all(isinstance(name, str) for name in classes) and set(classes) == set(per_class)


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    """Parse a text file; an empty dict if it does not exist."""
    if not path.is_file():
        return {}
    text = read_text(path, most=MAX_PLAIN_BYTES)
    try:
        return parse(text)
    except (csv.Error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {error}") from None


def _history(text: str) -> tuple[EpochRecord, ...]:
    fields = dataclasses.fields(EpochRecord)
    parsers: dict[str, Any] = {one.name: "True".__eq__ if one.type is bool else one.type for one in fields}
    parsers |= dict.fromkeys(("val_macro_f1", "val_balanced_accuracy", "val_weighted_auc"), _number_or_none)
    rows = csv.DictReader(text.splitlines())
    return tuple(
        EpochRecord(**{name: parse(row[name]) for name, parse in parsers.items() if name in row})
        for row in rows
    )


def _share_or_none(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value < 1 else None


def _number_or_none(text: str) -> float | None:
    return float(text) if text else None


def _matching(path: Path, document: Document) -> Predictions:
    """The predictions, if they are those that were scored."""
    predictions = read_predictions(path)
    if set(predictions.classes) < set(document["classes"]):
        predictions = read_predictions(path, document["classes"])
    if len(predictions) != document["n"] or set(predictions.classes) != set(document["classes"]):
        raise InputError(
            f"{path} and metrics.json disagree: they are from different runs; restore the changed one"
        )
    return predictions
