"""After the last epoch: calibrate the best checkpoint, and fit its out-of-distribution detector.

A temperature is fitted on validation, and a Gaussian to features of training images, so that predictions have
calibrated probabilities and a warning for out-of-distribution images. Neither changes a predicted class.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.common.events import ImagesDone, Note, OnEvent, ignore
from skinlesion_cli.data.eval_views import KeptViews, viewed_batches
from skinlesion_cli.data.splits import Split, evenly
from skinlesion_cli.inference.predictor import Predictor
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.metrics.calibration import fit_temperature
from skinlesion_cli.models.backbone import has_linear_head, levels_of
from skinlesion_cli.models.checkpoint import load_checkpoint, save_checkpoint
from skinlesion_cli.models.device import Runtime
from skinlesion_cli.models.ood import IMAGES, fit_ood_detector


def finalize(
    path: Path,
    model: nn.Module,
    train: Split,
    val: Split,
    *,
    runtime: Runtime,
    batch_size: int,
    workers: int,
    val_views: KeptViews | None = None,
    on_event: OnEvent = ignore,
) -> Predictor:
    """Fit the temperature and the out-of-distribution detector; returns the finished model.

    The best checkpoint of a run, at `path`, is replaced atomically. Its weights are loaded into `model`,
    which has its architecture and is on the runtime's device.
    """
    checkpoint = load_checkpoint(path)
    model.load_state_dict(checkpoint.state)
    backend = TorchBackend(model, checkpoint.preprocessing, runtime, frozen=True)
    # In the precision of scoring: TF32, which training leaves enabled, is too coarse for both.
    with backend.running():
        levels = levels_of(backend.model, backend.img_size)
        usable = levels > 0 or has_linear_head(backend.model, backend.img_size)

    def outputs(
        paths: Sequence[Path], task: str, kept: KeptViews | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Features (n, d), of width 0 if the model gives none, and logits (n, classes)."""
        features, all_logits, done = [], [], 0
        for batch in viewed_batches(
            paths,
            img_size=backend.img_size,
            resize=backend.resize,
            batch_size=batch_size,
            workers=workers,
            kept=kept,
        ):
            if batch.fault:
                raise UnreadableImageError(f"{batch.fault}; repair or remove it, then continue with --resume")
            pixels = torch.from_numpy(batch.images)
            none = torch.empty(len(pixels), 0)
            seen, logits = backend.features(pixels, levels) if usable else (none, backend.logits(pixels))
            features.append(seen.cpu().numpy())
            all_logits.append(logits.cpu().double().numpy())
            done += len(pixels)
            on_event(ImagesDone(task, done, len(paths)))
        return np.concatenate(features), np.concatenate(all_logits)

    of_val, logits = outputs(val.paths, "calibrating", val_views)
    index = np.array([checkpoint.classes.index(name) for name in val.classes])
    temperature = fit_temperature(logits, index[np.array(val.labels)])
    fitted = None
    if usable:
        of_train, _ = outputs(evenly(train.paths, IMAGES), "fitting the out-of-distribution detector")
        fitted = fit_ood_detector(of_train, of_val, levels)
    finished = dataclasses.replace(
        checkpoint,
        temperature=temperature,
        novelty=None if fitted is None else fitted.detector,
        distance_limit=None if fitted is None else fitted.limit,
        false_alarm_rate=None if fitted is None else fitted.false_alarms,
    )
    detector = "without an out-of-distribution detector"
    if fitted is not None:
        detector = f"out-of-distribution warning, expected for {fitted.false_alarms:.1%} of images like these"
    save_checkpoint(path, finished)
    backend.novelty = finished.novelty
    on_event(Note(f"temperature {temperature:.3f}, fitted on validation; {detector}"))
    return Predictor(finished.description, backend, batch_size=batch_size, workers=workers)
