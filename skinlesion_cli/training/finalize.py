"""After the last epoch: what the best checkpoint is told of its own confidence.

A temperature is fitted on validation, and a Gaussian to the features of training images, so that a
prediction carries a calibrated probability, and a warning where the picture is unlike all that the model has
seen. Neither changes a decision.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.common.events import ImagesDone, Note, OnEvent, ignore
from skinlesion_cli.data.eval_views import viewed_batches
from skinlesion_cli.data.splits import Split, evenly
from skinlesion_cli.inference.torch_backend import TorchBackend, backend_of
from skinlesion_cli.metrics.calibration import fit_temperature
from skinlesion_cli.models.backbone import has_linear_head
from skinlesion_cli.models.checkpoint import load_checkpoint, save_checkpoint
from skinlesion_cli.models.device import Runtime
from skinlesion_cli.models.ood import IMAGES, fit_ood_detector

Features = NDArray[np.float32]


def finish(
    path: Path,
    train: Split,
    val: Split,
    *,
    runtime: Runtime,
    batch_size: int,
    workers: int,
    on_event: OnEvent = ignore,
) -> None:
    """Fit the temperature and the distance from the training images, and store both with the checkpoint.

    Args:
        path: the best checkpoint of a run; it is replaced, whole or not at all.
        train: the training split; at most `IMAGES` of it are looked at.
        val: the validation split.
        runtime: where and how to compute.
        batch_size: images a forward pass.
        workers: threads that read images.
        on_event: is told of the progress.

    Raises:
        UnreadableImageError: an image cannot be read.
    """
    checkpoint = load_checkpoint(path)
    backend = backend_of(dataclasses.replace(checkpoint, temperature=1.0, novelty=None), runtime)
    linear = has_linear_head(backend.model, backend.img_size)

    def looked_at(paths: Sequence[Path], task: str) -> tuple[Features, NDArray[np.float64]]:
        return _features_and_logits(
            backend,
            paths,
            linear=linear,
            batch_size=batch_size,
            workers=workers,
            task=task,
            on_event=on_event,
        )

    of_val, logits = looked_at(val.paths, "calibrating")
    index = np.array([checkpoint.classes.index(name) for name in val.classes])
    temperature = fit_temperature(logits, index[np.array(val.labels)])
    novelty = None
    if linear:
        of_train, _ = looked_at(evenly(train.paths, IMAGES), "learning what is familiar")
        novelty, limit = fit_ood_detector(of_train, of_val)
    finished = dataclasses.replace(checkpoint, temperature=temperature, novelty=novelty, distance_limit=limit)
    save_checkpoint(path, finished)
    known = "with" if novelty is not None else "without"
    on_event(
        Note(
            f"temperature {temperature:.3f}, fitted on validation; {known} the distance from training images"
        )
    )


def _features_and_logits(
    backend: TorchBackend,
    paths: Sequence[Path],
    *,
    linear: bool,
    batch_size: int,
    workers: int,
    task: str,
    on_event: OnEvent,
) -> tuple[Features, NDArray[np.float64]]:
    """Features (n, d), of width 0 where the head is not linear, and logits (n, classes)."""
    features, all_logits, done = [], [], 0
    for batch in viewed_batches(paths, img_size=backend.img_size, batch_size=batch_size, workers=workers):
        if batch.fault:
            raise UnreadableImageError(f"{batch.fault}; mend or remove it, then --resume")
        pixels = torch.from_numpy(batch.images)
        seen, logits = (
            backend.features(pixels) if linear else (torch.empty(len(pixels), 0), backend.logits(pixels))
        )
        features.append(seen.cpu().numpy())
        all_logits.append(logits.cpu().double().numpy())
        done += len(pixels)
        on_event(ImagesDone(task, done, len(paths)))
    return np.concatenate(features), np.concatenate(all_logits)
