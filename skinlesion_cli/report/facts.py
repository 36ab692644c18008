"""What a run's folder says of itself: the one place that the page and the model card are filled from."""

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
from skinlesion_cli.curation.check_log import LastCheck, last_check, read_check
from skinlesion_cli.data.manifest import MANIFEST
from skinlesion_cli.data.splits import SPLITS
from skinlesion_cli.metrics.predictions import Predictions, read_predictions
from skinlesion_cli.training.run_folder import RunFolder

Document = Mapping[str, Any]


@dataclass(frozen=True)
class RunFacts:
    """A finished run of `skinlesion train`. What an older version did not write is empty or None."""

    folder: RunFolder
    documents: dict[str, Document]
    """The evaluation document of each split; see docs/formats.md."""
    best_epoch: int | None
    """The epoch that is kept, from 1."""
    epochs: int | None
    """How many were trained."""
    settings: dict[str, Any] = field(default_factory=dict)
    """results/settings.toml."""
    environment: dict[str, Any] = field(default_factory=dict)
    """results/environment.json."""
    history: tuple[EpochRecord, ...] = ()
    """results/history.csv."""
    predictions: Predictions | None = None
    """results/SPLIT_predictions.csv of the split whose scores count."""
    data_root: Path | None = None
    """The data set's folder; None where it is not known or not there."""
    data_check: str = ""
    """One line: whether the data were checked for leaks, and what was found; empty without the data."""
    check: LastCheck | None = None
    """That check; None where there was none since the data last changed."""
    has_manifest: bool = False
    """Whether a manifest.csv beside the splits names the lesion or patient of the images."""

    @property
    def split(self) -> str:
        """The split whose scores count: test, or what there is."""
        return _counted(self.documents)

    @property
    def document(self) -> Document:
        """Its document."""
        return self.documents[self.split]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the model's order."""
        return tuple(self.document["classes"])

    @property
    def counts(self) -> dict[str, int]:
        """Training images of each class; empty where they are not known."""
        scored = self.documents.get("train", {}).get("per_class", {})
        return {name: int(one["support"]) for name, one in scored.items()}

    @property
    def arch(self) -> str:
        """Timm's name of the backbone, or "unknown"."""
        return str(self.settings.get("model_arch", "unknown"))

    @property
    def grouped(self) -> bool:
        """Whether the intervals draw whole lesions or patients."""
        return self.document.get("resampling_unit") == "groups"


def read_run(root: Path, data: Path | None = None) -> RunFacts:
    """Read a run's folder; nothing in it is changed.

    Args:
        root: the folder that `train --out` wrote.
        data: the data set's folder; that of the run's settings where None.

    Raises:
        InputError: it is no run's folder, or a file of it is damaged.
    """
    folder = RunFolder(root)
    results = folder.results
    metrics = _read_metrics(results / "metrics.json")
    settings = _read(results / "settings.toml", tomllib.loads)
    known = data or (Path(str(settings["data_root"])) if "data_root" in settings else None)
    data_root = known if known is not None and is_folder(known) else None
    if data is not None and data_root is None:
        raise InputError(f"there is no folder {data}; name the data set's folder with --data")
    check = read_check(data_root) if data_root is not None else None
    documents = {name: metrics[name] for name in SPLITS if isinstance(metrics.get(name), dict)}
    split = _counted(documents)
    answers = results / f"{split}_predictions.csv"
    return RunFacts(
        folder=folder,
        documents=documents,
        best_epoch=metrics.get("best_epoch"),
        epochs=metrics.get("epochs"),
        settings=settings,
        environment=_read(results / "environment.json", _json_object),
        history=_read(results / "history.csv", _history) or (),
        predictions=_matching(answers, documents[split]) if answers.is_file() else None,
        data_root=data_root,
        data_check=last_check(data_root) if data_root is not None else "",
        check=check if check is not None and not check.outdated else None,
        has_manifest=data_root is not None and (data_root / MANIFEST).is_file(),
    )


def _counted(documents: Mapping[str, Document]) -> str:
    return next(name for name in ("test", "val", "train") if name in documents)


def _read_metrics(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"there is no {path}: name the folder that skinlesion train wrote, once it has finished"
        )
    metrics: dict[str, Any] = _read(path, json.loads)
    documents = [metrics.get(name) for name in SPLITS] if isinstance(metrics, dict) else []
    if not any(_is_document(one) for one in documents):
        raise InputError(
            f"{path} is not what skinlesion train writes: it has no scores of train, val or test"
        )
    return {name: value for name, value in metrics.items() if name not in SPLITS or _is_document(value)}


def _is_document(value: Any) -> bool:
    needed = {"n", "classes", "per_class", "confusion_matrix"}
    if not isinstance(value, dict) or not needed <= value.keys():
        return False
    classes, per_class = value["classes"], value["per_class"]
    return (
        isinstance(per_class, dict)
        and isinstance(classes, list)
        and all(isinstance(name, str) for name in classes)
        and set(classes) == set(per_class)
        and len(classes) <= MAX_CLASSES
    )


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    """Parse a text file; an empty dict where it is not there.

    Raises:
        InputError: it cannot be read or parsed.
    """
    if not path.is_file():
        return {}
    text = read_text(path, most=MAX_PLAIN_BYTES)
    try:
        return parse(text)
    except (csv.Error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {error}") from None


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def _history(text: str) -> tuple[EpochRecord, ...]:
    kinds = {one.name: one.type for one in dataclasses.fields(EpochRecord)}
    rows = csv.DictReader(text.splitlines())
    return tuple(
        EpochRecord(**{name: _cell(row[name], kind) for name, kind in kinds.items()}) for row in rows
    )


def _cell(text: str, kind: Any) -> Any:
    return text == "True" if kind is bool else kind(text)


def _matching(path: Path, document: Document) -> Predictions:
    """Predictions that are those of the scores.

    Raises:
        InputError: they are damaged, or another run's.
    """
    predictions = read_predictions(path)
    if len(predictions) != document["n"] or set(predictions.classes) != set(document["classes"]):
        raise InputError(
            f"{path} and metrics.json disagree: they are of different runs; train or score again"
        )
    return predictions
