"""Training: the method's loop, from top to bottom."""

import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from skinlesion_cli.common.errors import InputError, one_line
from skinlesion_cli.common.events import EpochDone, EpochRecord, Note, OnEvent, StepsDone, Warned, ignore
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.signals import Stopped, Stopping
from skinlesion_cli.common.world import ALONE, World
from skinlesion_cli.data.class_balance import ens_weights
from skinlesion_cli.data.file_hashes import Contents, summary_of
from skinlesion_cli.data.image_cache import open_cache, open_views
from skinlesion_cli.data.splits import Split
from skinlesion_cli.data.workers import worker_count
from skinlesion_cli.inference.backend import predict_split
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.metrics.classification import score, weighted_loss
from skinlesion_cli.models.backbone import create_model, normalization, with_synchronized_batchnorm
from skinlesion_cli.models.checkpoint import Checkpoint, plain_settings, plain_state, save_checkpoint
from skinlesion_cli.models.device import choose_runtime, seed_everything
from skinlesion_cli.models.model_info import Preprocessing
from skinlesion_cli.models.pretrained import load_start_weights
from skinlesion_cli.models.weight_files import plain_state_dict
from skinlesion_cli.training.division import Division, step_line
from skinlesion_cli.training.monitor import EpochSums
from skinlesion_cli.training.resume import (
    LastState,
    Learner,
    Progress,
    progress_of,
    read_last,
    require_same_run,
)
from skinlesion_cli.training.run_folder import RunFolder
from skinlesion_cli.training.sampler import WeightedDraws, training_loader
from skinlesion_cli.training.soundness import Soundness
from skinlesion_cli.training.stepping import Stepper

SECONDS_BETWEEN_EVENTS = 0.25


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
        last: LastState | None = None,
        contents: Contents | None = None,
        stopping: Stopping | None = None,
        world: World = ALONE,
        on_event: OnEvent = ignore,
    ):
        """Make the model, its loaders and its optimiser; load the last checkpoint when resuming.

        Args:
            settings: of the run.
            train: the training split.
            val: the validation split, with the same classes.
            folder: claimed for this run.
            resume: go on from the folder's last checkpoint.
            last: its content, where another process has read it.
            contents: the files of the splits, so that a resumption on others is refused; None does not look.
            stopping: tells when a signal asks to stop.
            world: the processes that train together, each with its own `Trainer`.
            on_event: is told of the progress.

        Raises:
            SkinLesionError: the settings, the weights or the checkpoint to resume from do not fit.
        """
        self.settings, self.train_split, self.val_split = settings, train, val
        self.folder, self.on_event = folder, on_event
        self.contents, self.stopping, self.world = contents or {}, stopping or Stopping(), world
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
            on_event(Note(f"starting from {load_start_weights(self.model, settings)}"))
        if settings.sync_batchnorm:
            self.model = with_synchronized_batchnorm(self.model, self.runtime.device)
        self.model.to(self.runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, settings.epochs)
        self.scaler = self.runtime.grad_scaler()
        self.learner = Learner(self.optimizer, self.scheduler, self.scaler, self.runtime.device)
        self.stepper = Stepper(
            self.optimizer, self.scaler, self.runtime, self.preprocessing, settings.grad_clip_norm, world
        )
        self.class_weights = np.array(ens_weights(list(train.counts.values()), settings.loss_beta))
        self.data = summary_of(self.contents)
        self.progress, self.sums = Progress(), EpochSums(self.runtime.device)
        self.forward: nn.Module = torch.compile(self.model) if settings.compile else self.model  # type: ignore[assignment]
        self.workers = worker_count(settings.num_workers, world.launch.local_size)
        self.draws = WeightedDraws(
            train.labels,
            alpha=settings.sampler_alpha,
            epoch_size_mult=settings.epoch_size_mult,
            batch_size=settings.batch_size,
            seed=settings.seed,
            division=Division(world.size, world.rank, settings.accumulate),
        )
        if self.draws.step_size != settings.batch_size:
            on_event(Note(step_line(world.size, settings, self.draws.step_size)))
        if resume:
            self._resume(last or read_last(folder))
        cache, place = open_cache(
            settings.cache, train.paths, settings.img_size, copies=world.launch.local_size
        )
        self.soundness = Soundness(self.draws, train, world)
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
            Stopped: a signal asked for it; the last checkpoint holds all that was done.
            UnreadableImageError: an image cannot be read.
        """
        if self.world.leads:
            if self.progress.is_new:
                self.folder.remove_checkpoints()
            self.folder.write_history(self.progress.history)
        self.forward = self.world.wrap(self.forward)
        with self.stopping.held():
            while not (self.stopping.asked or self._is_over()):
                try:
                    self._train_epoch()
                    # Validation changes nothing, so a stop need not wait for it.
                    with self.stopping.at_once():
                        val = self._validate()
                except Stopped:
                    self._save_last()
                    raise
                self._close_epoch(val)
        return self.progress.history

    def _train_epoch(self) -> None:
        """The steps of the epoch that are not done yet; a stop that is asked for ends it after a step."""
        self.runtime.activate()
        self.model.train()
        progress, device = self.progress, self.runtime.device
        epoch, steps = progress.epoch, self.draws.steps
        self.draws.epoch, self.draws.first_step = epoch, progress.step
        weights = torch.tensor(self.class_weights, dtype=torch.float32, device=device)
        self.soundness.begin(progress.step)
        self.sums = EpochSums(device, scaled=self.scaler.is_enabled(), stored=progress.sums)
        drawn_before, begun, told = self.sums.drawn, time.monotonic(), time.monotonic()
        batches, shares = iter(self.loader), self.draws.shares(self.class_weights)
        for step, (drawn, shares_of_step) in enumerate(shares, start=progress.step + 1):
            self.world.seed_step(self.settings.seed, epoch, step)
            loss, weight, hits = self.stepper.step(self.forward, batches, shares_of_step, weights).unbind()
            self.sums.add(loss, weight, hits, drawn)
            progress.step = step
            now = time.monotonic()
            due, asked = self.world.largest(
                int(now - told >= SECONDS_BETWEEN_EVENTS or step == steps), self.stopping.asked or 0
            )
            # Elsewhere than on the CPU, looking at the loss waits for the device.
            if due or device.type == "cpu":
                self.soundness.require_loss(self.sums, step)
            if due:
                told = now
                speed = (self.sums.drawn - drawn_before) / (now - begun)
                self.on_event(StepsDone(epoch, step, steps, self.sums.loss, self.sums.accuracy, speed))
            if self.settings.save_every and step % self.settings.save_every == 0:
                self._save_last()
            if asked:
                self.stopping.asked = asked
                break
        self.world.share_buffers(self.model)
        self.soundness.require_weights(self.model, progress.step)

    def _close_epoch(self, val: dict[str, float]) -> None:
        """Take the epoch into the history and write the checkpoints."""
        progress = self.progress
        learning_rate = float(self.scheduler.get_last_lr()[0])
        self.scheduler.step()
        record = EpochRecord(
            progress.epoch,
            self.sums.loss,
            self.sums.accuracy,
            **val,
            learning_rate=learning_rate,
            best=val["val_weighted_f1"] > progress.best_f1,
        )
        checkpoint = self._checkpoint(record.epoch, val)
        progress.close_epoch(record)
        if self.world.leads:
            # The best one first: a crash in between repeats the epoch, and the same epoch comes out.
            if record.best:
                save_checkpoint(self.folder.best, checkpoint)
            self._write_last(checkpoint)
            self.folder.write_history(progress.history)
        self.on_event(EpochDone(record, self.settings.epochs))

    def _validate(self) -> dict[str, float]:
        predictions = predict_split(
            TorchBackend(self.model, self.preprocessing, self.scoring_runtime),
            self.val_split,
            self.train_split.classes,
            batch_size=self.settings.batch_size,
            workers=self.workers,
            kept=self.val_views,
            world=self.world,
        )
        summary = score(predictions).summary
        return {
            "val_loss": weighted_loss(predictions, self.class_weights),
            "val_accuracy": summary["accuracy"],
            "val_weighted_f1": summary["weighted_f1"],
        }

    def _save_last(self) -> None:
        """Write last.pth in mid-epoch; the model that it holds has no validation figures."""
        self.soundness.require_loss(self.sums, self.progress.step)
        if self.world.leads:
            self.soundness.require_weights(self.model, self.progress.step)
            self.progress.sums = self.sums.plain()
            self._write_last(self._checkpoint(self.progress.epoch, {}))

    def _write_last(self, checkpoint: Checkpoint) -> None:
        origin = {"step_size": self.draws.step_size, "run_id": self.world.launch.run_id, "data": self.data}
        state = self.learner.state() | self.progress.plain() | origin
        save_checkpoint(self.folder.last, checkpoint, earlier=self.folder.previous, training=state)

    def _checkpoint(self, epoch: int, metrics: dict[str, float]) -> Checkpoint:
        return Checkpoint(
            arch=self.settings.model_arch,
            classes=self.train_split.classes,
            preprocessing=self.preprocessing,
            state=plain_state(self.model),
            class_counts=self.train_split.counts,
            settings=plain_settings(self.settings),
            metrics=metrics,
            epoch=epoch,
        )

    def _resume(self, last: LastState) -> None:
        content, remark = last
        counts, listed = self.train_split.counts, self.folder.contents
        require_same_run(content, self.settings, counts, self.contents, listed)
        try:
            self.model.load_state_dict(plain_state_dict(content))
            self.learner.restore(content["training"])
            self.progress = progress_of(content["training"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.folder.last} is no checkpoint to resume from: {one_line(error)}"
            ) from None
        before = content["training"].get("step_size", content["settings"]["batch_size"])
        if before != self.draws.step_size:
            self.progress.move_to_steps_of(self.draws.step_size)
            remark += f"a step had {before} images and has {self.draws.step_size} now"
        if remark:
            self.on_event(Warned(remark))
        self.on_event(Note(f"resuming after {self.progress.describe()}"))

    def _is_over(self) -> bool:
        progress = self.progress
        if progress.epoch > self.settings.epochs:
            return True
        if progress.step == 0 and 0 < self.settings.patience <= progress.epochs_since_best:
            self.on_event(Note(f"stopped early: no better epoch in {progress.epochs_since_best} epochs"))
            return True
        return False
