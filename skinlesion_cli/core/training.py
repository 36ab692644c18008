"""Training: the method's loop, from top to bottom."""

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from skinlesion_cli.core.augment import augment, normalize
from skinlesion_cli.core.balance import ens_weights
from skinlesion_cli.core.checkpoint import FORMAT, Checkpoint, plain_settings, plain_state, save_checkpoint
from skinlesion_cli.core.description import Preprocessing
from skinlesion_cli.core.errors import InputError, TrainingError
from skinlesion_cli.core.events import EpochDone, EpochRecord, Note, OnEvent, StepsDone, ignore
from skinlesion_cli.core.folders import Split
from skinlesion_cli.core.image_cache import open_cache, open_views
from skinlesion_cli.core.inference import predict_split
from skinlesion_cli.core.loading import WeightedDraws, training_loader
from skinlesion_cli.core.metrics import score, weighted_loss
from skinlesion_cli.core.model import (
    create_model,
    load_init_weights,
    load_pretrained,
    normalization,
    plain_state_dict,
    read_tensors,
)
from skinlesion_cli.core.run_folder import RunFolder
from skinlesion_cli.core.runtime import choose_runtime, seed_everything
from skinlesion_cli.core.settings import Settings
from skinlesion_cli.core.torch_backend import TorchBackend
from skinlesion_cli.core.workers import worker_count

SECONDS_BETWEEN_EVENTS = 0.25


@dataclass
class Progress:
    """How far a run has come: what resuming needs beside the tensors."""

    history: list[EpochRecord] = dataclasses.field(default_factory=list)
    best_f1: float = -1.0
    epochs_since_best: int = 0


class Trainer:
    """One training run over two splits, writing its checkpoints and history to a folder.

    Everything is made in the constructor, so that what is wrong is found before the first step.
    """

    def __init__(
        self,
        settings: Settings,
        train: Split,
        val: Split,
        folder: RunFolder,
        *,
        resume: bool = False,
        on_event: OnEvent = ignore,
    ):
        """Make the model, its loaders and its optimiser; load the last checkpoint when resuming.

        Args:
            settings: of the run.
            train: the training split.
            val: the validation split, with the same classes.
            folder: claimed for this run.
            resume: go on from the folder's last checkpoint.
            on_event: is told of the progress.

        Raises:
            SkinLesionError: the settings, the weights or the checkpoint to resume from do not fit.
        """
        self.settings, self.train_split, self.val_split = settings, train, val
        self.folder, self.on_event = folder, on_event
        self.runtime = choose_runtime(settings.device, settings.precision, training=True)
        # Validation chooses the epoch, so it is scored like the final scores: in fp32 unless asked otherwise.
        self.scoring_runtime = choose_runtime(settings.device, settings.precision, training=False)
        self.preprocessing = Preprocessing(
            settings.img_size, *normalization(settings.model_arch, settings.normalization)
        )
        # Seeded before the model is made: its head, or all of it, starts from random weights.
        seed_everything(settings.seed)
        self.model = create_model(settings.model_arch, len(train.classes), settings.img_size)
        on_event(Note(f"computing on {self.runtime.describe()}"))
        if not resume:
            on_event(Note(f"starting from {_start_weights(self.model, settings)}"))
        self.model.to(self.runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, settings.epochs)
        self.scaler = self.runtime.grad_scaler()
        self.class_weights = np.array(ens_weights(list(train.counts.values()), settings.loss_beta))
        self.progress = Progress()
        if resume:
            self._resume()
        self.forward: nn.Module = torch.compile(self.model) if settings.compile else self.model  # type: ignore[assignment]
        self.workers = worker_count(settings.num_workers)
        self.draws = WeightedDraws(
            train.labels,
            alpha=settings.sampler_alpha,
            epoch_size_mult=settings.epoch_size_mult,
            batch_size=settings.batch_size,
            seed=settings.seed,
        )
        cache, place = open_cache(settings.cache, train.paths, settings.img_size)
        self.val_views, val_place = open_views(settings.cache, val.paths, settings.img_size)
        on_event(Note(f"image cache: {place}; of validation: {val_place}"))
        self.loader: DataLoader[Any] = training_loader(
            train,
            self.draws,
            img_size=settings.img_size,
            workers=self.workers,
            pin_memory=settings.pin_memory,
            runtime=self.runtime,
            cache=cache,
        )

    def run(self) -> list[EpochRecord]:
        """Train until the last epoch, or until validation has not improved for `patience` epochs.

        A new run first removes the checkpoints of an earlier one.

        Returns:
            The record of every epoch, those before a resumption included.

        Raises:
            TrainingError: the loss is no longer finite.
            UnreadableImageError: an image cannot be read.
        """
        if not self.progress.history:
            self.folder.remove_checkpoints()
        for epoch in range(len(self.progress.history) + 1, self.settings.epochs + 1):
            if self._patience_is_spent():
                self.on_event(
                    Note(f"stopped early: no better epoch in {self.progress.epochs_since_best} epochs")
                )
                break
            learning_rate = float(self.scheduler.get_last_lr()[0])
            train_loss, train_accuracy = self._train_epoch(epoch)
            val = self._validate()
            self.scheduler.step()
            better = val["val_weighted_f1"] > self.progress.best_f1
            record = EpochRecord(
                epoch, train_loss, train_accuracy, **val, learning_rate=learning_rate, best=better
            )
            self._keep(record)
            self.on_event(EpochDone(record, self.settings.epochs))
        return self.progress.history

    def _train_epoch(self, epoch: int) -> tuple[float, float]:
        """One pass over the epoch's draws; returns the mean weighted loss and the accuracy."""
        self.runtime.activate()
        self.model.train()
        self.draws.epoch = epoch
        device = self.runtime.device
        weights = torch.tensor(self.class_weights, dtype=torch.float32, device=device)
        # Sums stay on the device: reading one waits for all the work before it.
        precise = torch.float32 if device.type == "mps" else torch.float64
        loss_sum, weight_sum, hits = torch.zeros(3, dtype=precise, device=device)
        drawn, begun, told = 0, time.monotonic(), time.monotonic()
        for step, (images, labels, parameters) in enumerate(self.loader, start=1):
            targets = labels.to(device, non_blocking=True)
            pictures = augment(images.to(device, non_blocking=True), parameters)
            inputs = self.runtime.put(normalize(pictures, self.preprocessing.mean, self.preprocessing.std))
            with self.runtime.autocast():
                logits = self.forward(inputs)
            logits = logits.float()
            loss = functional.cross_entropy(logits, targets, weight=weights)
            self._step(loss)
            batch_weight = weights[targets].sum()
            loss_sum += loss.detach() * batch_weight
            weight_sum += batch_weight
            hits += (logits.detach().argmax(dim=1) == targets).sum()
            drawn += len(targets)
            now = time.monotonic()
            if now - told >= SECONDS_BETWEEN_EVENTS or step == len(self.loader):
                told = now
                mean_loss, accuracy = float(loss_sum / weight_sum), float(hits / drawn)
                self._require_finite(mean_loss, epoch, step)
                speed = drawn / (now - begun)
                self.on_event(StepsDone(epoch, step, len(self.loader), mean_loss, accuracy, speed))
        return mean_loss, accuracy

    def _step(self, loss: torch.Tensor) -> None:
        """Gradients, clipped, and one step of the optimiser; the scaler does nothing outside fp16."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.settings.grad_clip_norm > 0:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _validate(self) -> dict[str, float]:
        predictions = predict_split(
            TorchBackend(self.model, self.preprocessing, self.scoring_runtime),
            self.val_split,
            self.train_split.classes,
            batch_size=self.settings.batch_size,
            workers=self.workers,
            kept=self.val_views,
        )
        summary = score(predictions).summary
        return {
            "val_loss": weighted_loss(predictions, self.class_weights),
            "val_accuracy": summary["accuracy"],
            "val_weighted_f1": summary["weighted_f1"],
        }

    def _keep(self, record: EpochRecord) -> None:
        """Take the epoch into the history and write the checkpoints."""
        progress = self.progress
        progress.history.append(record)
        progress.epochs_since_best = 0 if record.best else progress.epochs_since_best + 1
        if record.best:
            progress.best_f1 = record.val_weighted_f1
        checkpoint = Checkpoint(
            arch=self.settings.model_arch,
            classes=self.train_split.classes,
            preprocessing=self.preprocessing,
            state=plain_state(self.model),
            class_counts=self.train_split.counts,
            settings=plain_settings(self.settings),
            metrics={name: getattr(record, name) for name in ("val_loss", "val_accuracy", "val_weighted_f1")},
            epoch=record.epoch,
        )
        # The best one first: a crash in between repeats the epoch, and the same epoch comes out.
        if record.best:
            save_checkpoint(self.folder.best, checkpoint)
        save_checkpoint(self.folder.last, checkpoint, training=self._training_state())
        self.folder.write_history(progress.history)

    def _training_state(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if self.runtime.device.type == "cuda" else []
        return {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": cuda,
            "history": [dataclasses.asdict(record) for record in self.progress.history],
            "best_f1": self.progress.best_f1,
            "epochs_since_best": self.progress.epochs_since_best,
        }

    def _resume(self) -> None:
        path = self.folder.last
        content = read_tensors(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT or "training" not in content:
            raise InputError(f"{path} is no checkpoint to resume from")
        _require_same_run(path, content, self.settings, self.train_split)
        state = content["training"]
        self.model.load_state_dict(plain_state_dict(content))
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] and self.runtime.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        self.progress = Progress(
            [EpochRecord(**record) for record in state["history"]],
            state["best_f1"],
            state["epochs_since_best"],
        )
        self.on_event(Note(f"resuming after epoch {len(self.progress.history)}"))

    def _patience_is_spent(self) -> bool:
        return 0 < self.settings.patience <= self.progress.epochs_since_best

    def _require_finite(self, loss: float, epoch: int, step: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in epoch {epoch} by step {step}; the checkpoints of the epoch "
                "before are kept: lower --learning-rate, or use --precision fp32"
            )


def _start_weights(model: nn.Module, settings: Settings) -> str:
    if settings.init_weights is not None:
        return load_init_weights(model, settings.model_arch, settings.init_weights)
    if settings.pretrained:
        return load_pretrained(model, settings.model_arch)
    return "random weights"


# What may differ between a run and its resumption without making it another run.
_FREE_TO_CHANGE = {
    "data_root",
    "init_weights",
    "pretrained",
    "patience",
    "num_workers",
    "cache",
    "pin_memory",
    "device",
    "compile",
}


def _require_same_run(path: Path, content: dict[str, Any], settings: Settings, train: Split) -> None:
    before, now = content["settings"], plain_settings(settings)
    changed = [name for name in now if name not in _FREE_TO_CHANGE and before.get(name) != now[name]]
    if changed:
        changes = ", ".join(f"{name} was {before.get(name)} and is {now[name]}" for name in changed)
        raise InputError(f"{path} belongs to another run: {changes}; give the same settings, or --overwrite")
    if content["class_counts"] != train.counts:
        raise InputError(f"{path} was trained on other images than {train.root} holds now; use --overwrite")
