"""The results folder of a run that was never trained: its scores are those of drawn predictions."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from skinlesion_cli.common.events import EpochRecord
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.calibration import calibration_document, fit_temperature, softmax
from skinlesion_cli.metrics.classification import SUMMARY
from skinlesion_cli.metrics.evaluation import evaluate
from skinlesion_cli.metrics.predictions import Predictions, write_predictions
from skinlesion_cli.metrics.selective import selective_document
from skinlesion_cli.training.run_folder import RunFolder

CLASSES = ("Melanoma", "Melanocytic nevi", "Vascular lesions")
COUNTS = {"train": (40, 90, 12), "val": (9, 15, 4), "test": (11, 18, 5)}


def drawn_predictions(counts: tuple[int, ...], classes: tuple[str, ...], seed: int) -> Predictions:
    """Predictions that lean to the true class; no two alike."""
    random = np.random.default_rng(seed)
    true = np.repeat(np.arange(len(classes)), counts)
    logits = random.normal(0, 1.2, (len(true), len(classes)))
    logits[np.arange(len(true)), true] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    images = tuple(f"{classes[label]}/{row}.jpg" for row, label in enumerate(true))
    return Predictions(images, classes, probabilities.argmax(axis=1), true, probabilities, logits)


def write_finished_run(root: Path, classes: tuple[str, ...] = CLASSES, data_root: Path | None = None) -> Path:
    """Write `root/results` as train of this version does, without its pictures; returns `root`."""
    folder = RunFolder(root)
    folder.results.mkdir(parents=True)
    drawn = {
        split: drawn_predictions(counts, classes, seed) for seed, (split, counts) in enumerate(COUNTS.items())
    }
    temperature = fit_temperature(drawn["val"].logits, drawn["val"].true)
    final = {
        split: dataclasses.replace(
            one, probabilities=softmax(one.logits, temperature), temperature=temperature
        )
        for split, one in drawn.items()
    }
    documents: dict[str, Any] = {}
    for split, one in drawn.items():
        _, documents[split] = evaluate(one, split)
        bootstrap = Bootstrap(len(one), resamples=50)
        documents[split]["calibration"] = calibration_document(final[split], bootstrap)
        target = 0.9 if split == "test" else None
        documents[split]["selective"] = selective_document(final[split], bootstrap, target, final["val"])
    undefined = dict.fromkeys(SUMMARY) | {"classes": list(classes)}
    documents["test"]["blocks"] = {
        "clinic A": undefined | {"n": 20, "accuracy": 0.9, "ci95": {"accuracy": [0.8, 1.0]}},
        "<i>B</i>": undefined | {"n": 14, "accuracy": 0.5, "ci95": {}},
    }
    for split in ("val", "test"):
        write_predictions(folder.results / f"{split}_predictions.csv", final[split])
    write_json(
        folder.results / "metrics.json", {"best_epoch": 2, "epochs": 3, "false_alarm_rate": 0.03, **documents}
    )
    environment = {"versions": {"torch": "2.6.0"}, "command_line": ["skinlesion", "train"]}
    write_json(folder.results / "environment.json", environment)
    folder.write_settings(Settings(data_root=data_root or root / "absent", epochs=3))
    folder.write_history(
        [EpochRecord(epoch, 2.0 / epoch, 0.5, 1.5, 0.6, 0.55, 3e-4, epoch < 3) for epoch in (1, 2, 3)]
    )
    return root


def write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")
