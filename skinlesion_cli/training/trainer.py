"""Training: the method's loop, from top to bottom."""

import dataclasses
import time
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from skinlesion_cli.common.events import (
    Busy,
    EpochDone,
    EpochRecord,
    Note,
    OnEvent,
    StepsDone,
    Warned,
    ignore,
)
from skinlesion_cli.common.paper import Resize
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.signals import Stopped, Stopping
from skinlesion_cli.common.world import ALONE, World
from skinlesion_cli.data.augment import AUGMENTATIONS, PARAMETERS, augment, normalize
from skinlesion_cli.data.file_hashes import summary_of
from skinlesion_cli.data.image_cache import open_cache, open_views
from skinlesion_cli.data.mixing import mix
from skinlesion_cli.data.screening import Screening
from skinlesion_cli.data.workers import worker_count
from skinlesion_cli.inference.backend import predict_split
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.models.backbone import normalization
from skinlesion_cli.models.checkpoint import Checkpoint, plain_settings, plain_state, save_checkpoint
from skinlesion_cli.models.device import choose_runtime
from skinlesion_cli.models.model_info import Preprocessing
from skinlesion_cli.training.losses import losses_of
from skinlesion_cli.training.monitor import Monitor, Pace
from skinlesion_cli.training.network import make_network, set_training_mode
from skinlesion_cli.training.optimizer import make_average, make_optimizer, make_scheduler, restarted_schedule
from skinlesion_cli.training.resume import LastState, Learner, Progress, require_best, require_same_run
from skinlesion_cli.training.run_folder import RunFolder
from skinlesion_cli.training.sampler import Division, WeightedDraws, loading_workers, training_loader
from skinlesion_cli.training.selection import epoch_scores, selection_score

SECONDS_BETWEEN_EVENTS = 0.25


class Trainer:
    """One training run on two splits. The constructor creates everything: errors come before any step."""

    def __init__(
        self,
        settings: Settings,
        screening: Screening,
        folder: RunFolder,
        *,
        last: LastState | None = None,
        stopping: Stopping | None = None,
        world: World = ALONE,
        on_event: OnEvent = ignore,
    ):
        """Make the model, the optimiser and the loaders; restore `last`, the state of the run to resume.

        The screening covers the splits `train` and `val`, which have the same classes. Without facts, the
        images are opened again, and may differ from those of the run that is resumed.
        """
        self.settings, self.screening, self.folder = settings, screening, folder
        self.train_split, self.val_split = screening.splits["train"], screening.splits["val"]
        self.stopping, self.world, self.on_event = stopping or Stopping(), world, on_event
        self.runtime = choose_runtime(settings.device, settings.precision, training=True)
        # Validation selects the epoch, so it is computed like the final scores: in fp32 by default.
        self.scoring_runtime = choose_runtime(settings.device, settings.precision, training=False)
        self.preprocessing = Preprocessing(
            settings.img_size,
            *normalization(settings.model_arch, settings.normalization),
            Resize(fit=settings.fit),
        )
        self.progress = Progress()
        self._make_model(pretrained=last is None)
        self._make_optimizer()
        self._make_draws()
        if last is not None:
            self._resume(*last)
        self._make_loaders()
        if world.leads:
            folder.make()

    def _make_model(self, *, pretrained: bool) -> None:
        settings, classes = self.settings, self.train_split.classes
        self.model = make_network(
            settings, classes, self.runtime, pretrained=pretrained, on_event=self.on_event
        )
        # Not with dynamic shapes: after the smaller last batch of an epoch, all batches would run slower
        # code.
        compiled: Any = torch.compile(self.model, dynamic=False) if settings.compile else self.model
        self.forward: nn.Module = compiled

    def _make_optimizer(self) -> None:
        settings, device = self.settings, self.runtime.device
        counts = list(self.train_split.counts.values())
        self.loss, self.unweighted_loss = losses_of(settings, counts, device)
        self.parameters = [one for one in self.model.parameters() if one.requires_grad]
        self.optimizer = make_optimizer(self.model, settings)
        self.scheduler = make_scheduler(self.optimizer, settings)
        self.scaler = self.runtime.grad_scaler()
        self.average = make_average(self.model, settings.ema_decay)
        averaged = None if self.average is None else self.average.module
        self.scored_model: nn.Module = self.model if averaged is None else averaged
        self.learner = Learner(self.model, averaged, self.optimizer, self.scheduler, self.scaler, device)

    def _make_draws(self) -> None:
        settings, world, split = self.settings, self.world, self.train_split
        mixes = settings.mixup > 0 or settings.cutmix > 0
        division = Division(world.size, world.rank, settings.accumulate, keeps_pairs=mixes)
        self.draws = WeightedDraws(
            split.labels,
            alpha=settings.sampler_alpha,
            epoch_size_mult=settings.epoch_size_mult,
            batch_size=settings.batch_size,
            seed=settings.seed,
            division=division,
            deferred=settings.deferred_weighting,
        )
        if division.parts > 1:
            self.on_event(Note(division.describe(settings)))
        models = list(dict.fromkeys([self.model, self.scored_model]))
        self.monitor = Monitor(
            self.draws, split.files, self.runtime.device, scaler=self.scaler, models=models, world=world
        )

    def _make_loaders(self) -> None:
        settings, sharers, side = self.settings, self.world.launch.local_size, self.settings.img_size
        self.on_event(Busy("opening the image cache"))
        self.workers = worker_count(settings.num_workers, sharers)
        loading = loading_workers(settings, self.workers, sharers, self.on_event)
        cache, place = open_cache(
            settings.cache, self.train_split.paths, side, facts=self.screening.facts, copies=sharers
        )
        resize = self.preprocessing.resize
        self.val_views, val_place = open_views(settings.cache, self.val_split.paths, side, resize)
        self.on_event(Note(f"image cache: {place} (training); {val_place} (validation)"))
        pinned = settings.pin_memory and self.runtime.device.type == "cuda"
        self.augmentation = AUGMENTATIONS[settings.augment]
        self.loader: DataLoader[Any] = training_loader(
            self.train_split,
            self.draws,
            img_size=side,
            workers=loading,
            pin_memory=pinned,
            cache=cache,
            resize=resize,
            augmentation=self.augmentation,
            mixup=settings.mixup,
            cutmix=settings.cutmix,
        )

    def run(self) -> list[EpochRecord]:
        """Train until the last epoch, or until validation has not improved for `patience` epochs.

        A new run first removes the checkpoints of an earlier one. Returns the record of every epoch, also of
        those before the run was resumed. A signal raises `Stopped`; the last checkpoint then has everything.
        """
        if self.world.leads:
            if not self.progress.history and self.progress.step == 0:
                self.folder.remove_checkpoints()
            self.folder.write_history(self.progress.history)
        self.forward = self.world.wrap(self.forward)
        self.pace = Pace(self.draws.steps, self.settings.epochs, self.progress.epoch, self.progress.step)
        self.on_event(Busy("compiling the model" if self.settings.compile else "loading the first images"))
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
        """Do the epoch's remaining steps; a request to stop ends it after the current step."""
        settings, progress, world, device = self.settings, self.progress, self.world, self.runtime.device
        epoch, steps = progress.epoch, self.draws.steps
        border = self.preprocessing.resize.border if settings.fit == "pad" else None
        self.runtime.activate()
        set_training_mode(self.model, frozen=settings.freeze_backbone)
        criterion = self.unweighted_loss if epoch < settings.deferred_weighting else self.loss
        self.draws.start_epoch(epoch, progress.step)
        self.monitor.start(progress.step, progress.sums)
        last_event, batches = time.monotonic(), iter(self.loader)
        for step, labels in enumerate(self.draws.labels_by_step(), start=progress.step + 1):
            world.seed_step(settings.seed, epoch, step)
            self.optimizer.zero_grad(set_to_none=True)
            # Gradient accumulation: each batch adds its share of the gradient of the step's mean loss.
            shares, seen = criterion.batch_shares(labels, self.draws.division), []
            for nth, share in enumerate(shares, start=1):
                images, targets, parameters = next(batches)
                targets = self.runtime.move(targets)
                images = augment(
                    self.runtime.move(images), parameters[:, :PARAMETERS], self.augmentation.corners, border
                )
                mixing = parameters[:, PARAMETERS:]
                mixed = mix(images, targets, mixing) if mixing.numel() else None
                inputs = self.runtime.put(normalize(images, self.preprocessing.mean, self.preprocessing.std))
                # Gradients are averaged over the processes once, with the last batch.
                world.set_averaging(self.forward, nth == len(shares))
                with self.runtime.autocast():
                    logits = self.forward(inputs)
                logits = logits.float()
                loss = criterion(logits, targets, mixed) * share
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                hits = (logits.detach().argmax(dim=1) == targets).sum()
                seen.append(torch.stack([loss.detach(), criterion.total_weight(targets), hits]))
            if settings.grad_clip_norm > 0:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.parameters, settings.grad_clip_norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.average is not None:
                self.average.update(self.model, (epoch - 1) * steps + step)
            self.monitor.add(world.sums_of_step(torch.stack(seen).sum(dim=0)), len(labels))
            progress.step = step
            now = time.monotonic()
            due, asked = world.largest(
                int(now - last_event >= SECONDS_BETWEEN_EVENTS or step == steps), self.stopping.asked or 0
            )
            # On other devices than the CPU, reading the loss waits for the device.
            if due or device.type == "cpu":
                self.monitor.require_finite_loss(step)
            if due:
                last_event = now
                figures, left = self.monitor.figures, self.pace.seconds_left(epoch, step)
                self.on_event(StepsDone(epoch, settings.epochs, step, steps, *figures, left))
            if settings.save_every and step % settings.save_every == 0:
                self._save_last()
            if asked:
                self.stopping.asked = asked
                break
        # The same order in all processes.
        for model in dict.fromkeys([self.model, self.scored_model]):
            world.share_buffers(model)
        self.monitor.require_finite_weights(self.model, progress.step)

    def _validate(self) -> dict[str, Any]:
        predictions = predict_split(
            TorchBackend(self.scored_model, self.preprocessing, self.scoring_runtime),
            self.val_split,
            self.train_split.classes,
            batch_size=self.settings.batch_size,
            workers=self.workers,
            kept=self.val_views,
            world=self.world,
            on_event=self.on_event,
        )
        return epoch_scores(predictions, self.loss.class_weights)

    def _close_epoch(self, val: dict[str, Any]) -> None:
        """Add the epoch to the history and write the checkpoints."""
        progress, score = self.progress, selection_score(val, self.settings.select)
        rate, best = float(max(self.scheduler.get_last_lr())), progress.is_best(score)
        means = self.monitor.figures[:2]
        record = EpochRecord(progress.epoch, *means, **val, learning_rate=rate, best=best)
        self.scheduler.step()
        progress.close_epoch(record, score)
        if self.world.leads:
            # The best one first: after a crash between the two, the epoch is repeated with the same result.
            if record.best:
                save_checkpoint(self.folder.best, self._checkpoint(self.scored_model, record.epoch, val))
            self._write_last(self._checkpoint(self.model, record.epoch, val))
            self.folder.write_history(progress.history)
        self.on_event(EpochDone(record, self.settings.epochs, self.settings.select))

    def _is_over(self) -> bool:
        progress = self.progress
        if progress.epoch > self.settings.epochs:
            return True
        if progress.step == 0 and 0 < self.settings.patience <= progress.epochs_since_best:
            self.on_event(Note(f"stopped early: no improvement in {progress.epochs_since_best} epochs"))
            return True
        return False

    def _save_last(self) -> None:
        """Write last.pth in the middle of an epoch, without validation metrics."""
        self.monitor.require_finite_loss(self.progress.step)
        if self.world.leads:
            self.monitor.require_finite_weights(self.model, self.progress.step)
            self.progress.sums = self.monitor.plain()
            self._write_last(self._checkpoint(self.model, self.progress.epoch, {}))

    def _write_last(self, checkpoint: Checkpoint) -> None:
        data = summary_of(self.screening.contents)
        origin = {"step_size": self.draws.step_size, "run_id": self.world.launch.run_id, "data": data}
        state = self.learner.state() | dataclasses.asdict(self.progress) | origin
        save_checkpoint(self.folder.last, checkpoint, earlier=self.folder.previous, training=state)

    def _checkpoint(self, model: nn.Module, epoch: int, metrics: dict[str, Any]) -> Checkpoint:
        return Checkpoint(
            arch=self.settings.model_arch,
            classes=self.train_split.classes,
            preprocessing=self.preprocessing,
            state=plain_state(model),
            class_counts=self.train_split.counts,
            settings=plain_settings(self.settings),
            metrics=metrics,
            epoch=epoch,
        )

    def _resume(self, content: dict[str, Any], remark: str) -> None:
        require_same_run(content, self.settings, self.screening, self.folder)
        self.progress, change = self.learner.restore(content, self.draws.step_size, self.folder.last)
        if self.world.leads:
            require_best(self.folder, self.progress.history)
        if remarks := "; ".join(filter(None, [remark, change])):
            self.on_event(Warned(remarks))
        self.on_event(Note(f"resuming after {self.progress.describe()}"))
        if self.settings.epochs > content["settings"]["epochs"]:
            self._restart_schedule(content["settings"]["epochs"])

    def _restart_schedule(self, before: int) -> None:
        """Begin a new learning-rate schedule for the remaining epochs of a run that was made longer."""
        settings, current = self.settings, self.progress.epoch
        self.scheduler = restarted_schedule(self.optimizer, settings, settings.epochs - current + 1)
        self.learner = dataclasses.replace(self.learner, scheduler=self.scheduler)
        self.on_event(
            Warned(
                f"epochs was {before} and is {settings.epochs}: the learning rate restarts at "
                f"{settings.learning_rate:g}, and decreases until epoch {settings.epochs}"
            )
        )
