import dataclasses
from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from skinlesion_cli.core.augment import augment, normalize
from skinlesion_cli.core.errors import InputError, TrainingError
from skinlesion_cli.core.events import EpochDone, Event, Note, StepsDone
from skinlesion_cli.core.folders import read_split
from skinlesion_cli.core.metrics import score
from skinlesion_cli.core.run_folder import RunFolder
from skinlesion_cli.core.runtime import choose_runtime
from skinlesion_cli.core.settings import Settings
from skinlesion_cli.core.training import Trainer


def tiny(data: Path, **changes: object) -> Settings:
    settings = Settings(
        data_root=data,
        model_arch="mobilevitv2_050",
        img_size=64,
        pretrained=False,
        batch_size=8,
        epochs=3,
        num_workers=0,
        precision="fp32",
        epoch_size_mult=1.0,
        seed=3,
    )
    return dataclasses.replace(settings, **changes)


def trainer(
    data: Path, root: Path, *, resume: bool = False, **changes: object
) -> tuple[Trainer, list[Event]]:
    folder = RunFolder(root)
    folder.claim(resume=resume, overwrite=not resume)
    events: list[Event] = []
    train, val = read_split(data, "train"), read_split(data, "val")
    return Trainer(tiny(data, **changes), train, val, folder, resume=resume, on_event=events.append), events


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


def test_a_resumed_run_equals_one_that_never_stopped_to_the_bit(data: Path, tmp_path: Path) -> None:
    whole, _ = trainer(data, tmp_path / "whole")
    whole.run()
    stopped, _ = trainer(data, tmp_path / "stopped")
    stop_after_first_epoch(stopped)
    torch.manual_seed(999)  # whatever happens in between
    resumed, events = trainer(data, tmp_path / "stopped", resume=True)
    assert Note("resuming after epoch 1") in events
    resumed.run()
    history = [(tmp_path / run / "results" / "history.csv").read_bytes() for run in ("whole", "stopped")]
    assert history[0] == history[1]
    for name in ("last.pth", "best_model.pth"):
        first, second = (weights_of(tmp_path / run / "checkpoints" / name) for run in ("whole", "stopped"))
        assert all(torch.equal(first[key], second[key]) for key in first)


def stop_after_first_epoch(run: Trainer) -> None:
    told = run.on_event

    def tell(event: Event) -> None:
        told(event)
        if isinstance(event, EpochDone):
            raise KeyboardInterrupt

    run.on_event = tell
    with pytest.raises(KeyboardInterrupt):
        run.run()


def test_the_optimiser_is_the_papers(data: Path, tmp_path: Path) -> None:
    run, _ = trainer(data, tmp_path, epochs=3)
    assert isinstance(run.optimizer, torch.optim.AdamW)
    assert run.optimizer.defaults["lr"] == 3e-4
    assert run.optimizer.defaults["weight_decay"] == 0.05
    history = run.run()
    reference = CosineAnnealingLR(torch.optim.AdamW([torch.zeros(1)], lr=3e-4), 3)
    expected = []
    for _ in range(3):
        expected.append(reference.get_last_lr()[0])
        reference.optimizer.step()
        reference.step()
    assert [record.learning_rate for record in history] == pytest.approx(expected, rel=1e-12)


def test_the_training_loss_is_the_ens_weighted_cross_entropy(data: Path, tmp_path: Path) -> None:
    # With a learning rate of almost 0 the model stays as it is, and the epoch's loss can be recomputed.
    run, events = trainer(data, tmp_path, learning_rate=1e-12, weight_decay=0.0, epochs=1)
    model = run.model.train()
    weights = torch.tensor(run.class_weights, dtype=torch.float32)
    run.draws.epoch = 1
    logits, labels = [], []
    for images, targets, parameters in run.loader:
        inputs = normalize(augment(images, parameters), run.preprocessing.mean, run.preprocessing.std)
        torch.manual_seed(0)
        logits.append(model(inputs.contiguous(memory_format=torch.channels_last)).detach())
        labels.append(targets)
    expected = torch.nn.functional.cross_entropy(torch.cat(logits), torch.cat(labels), weight=weights)
    (record,) = run.run()
    assert record.train_loss == pytest.approx(float(expected), rel=1e-3)
    last = [event for event in events if isinstance(event, StepsDone)][-1]
    assert (last.step, last.steps) == (3, 3)
    assert last.loss == record.train_loss


def test_a_cache_changes_no_figure(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    histories, said = [], []
    for kind in ("off", "ram", "disk"):
        run, events = trainer(data, tmp_path / kind, cache=kind, epochs=2)
        histories.append(run.run())
        said += [event.text for event in events if isinstance(event, Note) and "image cache" in event.text]
    assert histories[0] == histories[1] == histories[2]
    assert said[0] == "image cache: off; of validation: off"
    assert said[1].startswith("image cache: memory, ")
    assert said[2].startswith(f"image cache: {tmp_path / 'cache' / 'skinlesion' / 'images'}")


def test_gradients_are_clipped(data: Path, tmp_path: Path) -> None:
    run, _ = trainer(data, tmp_path, grad_clip_norm=1e-3)
    images, labels, parameters = next(iter(run.loader))
    inputs = normalize(augment(images, parameters), run.preprocessing.mean, run.preprocessing.std)
    (100 * torch.nn.functional.cross_entropy(run.model(inputs), labels)).backward()
    run.stepper.update(run.model.parameters())
    norm = torch.linalg.vector_norm(
        torch.stack([p.grad.norm() for p in run.model.parameters() if p.grad is not None])
    )
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_it_stops_when_patience_is_spent(data: Path, tmp_path: Path) -> None:
    run, events = trainer(data, tmp_path, epochs=50, patience=2, learning_rate=1e-9)
    history = run.run()
    best = max(record.epoch for record in history if record.best)
    assert len(history) == best + 2 < 50
    assert events[-1] == Note("stopped early: no better epoch in 2 epochs")


def test_the_best_checkpoint_is_the_epoch_with_the_best_weighted_f1(data: Path, tmp_path: Path) -> None:
    run, _ = trainer(data, tmp_path, learning_rate=3e-3)
    history = run.run()
    content = torch.load(run.folder.best, weights_only=True)
    best = max(record.val_weighted_f1 for record in history)
    assert content["metrics"]["val_weighted_f1"] == best
    assert content["epoch"] == next(record.epoch for record in history if record.val_weighted_f1 == best)


def test_a_loss_that_is_not_finite_stops_it_and_keeps_the_checkpoint(data: Path, tmp_path: Path) -> None:
    run, _ = trainer(data, tmp_path)
    run.class_weights[:] = float("inf")
    with pytest.raises(TrainingError, match="the loss became"):
        run.run()
    assert not run.folder.best.exists()


def test_resuming_with_other_settings_names_each_difference(data: Path, tmp_path: Path) -> None:
    run, _ = trainer(data, tmp_path, epochs=1)
    run.run()
    with pytest.raises(InputError, match=r"epochs was 1 and is 3.*--overwrite"):
        trainer(data, tmp_path, resume=True)


def test_a_compiled_model_leaves_plain_names(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch.compile itself, without the minutes that its default compiler takes.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile_(model, backend="eager"))
    run, _ = trainer(data, tmp_path, compile=True, epochs=1)
    assert type(run.forward).__name__ == "OptimizedModule"
    run.run()
    assert weights_of(run.folder.best).keys() == run.model.state_dict().keys()


def test_bfloat16_trains_on_the_cpu(data: Path, tmp_path: Path) -> None:
    run, events = trainer(data, tmp_path, precision="bf16", epochs=1)
    run.run()
    assert Note("computing on cpu, bfloat16 mixed precision") in events
    assert weights_of(run.folder.best)["stem.conv.weight"].dtype == torch.float32


def test_precision_is_settled_by_purpose_and_device() -> None:
    assert choose_runtime("cpu", "auto", training=False).dtype == torch.float32
    fast = torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32
    assert choose_runtime("cpu", "auto", training=True).dtype == fast
    with pytest.raises(InputError, match="fp16 is not for the CPU"):
        choose_runtime("cpu", "fp16", training=True)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no cuda device"):
            choose_runtime("cuda", "auto", training=True)


def test_validation_scores_are_those_of_the_finished_model(data: Path, tmp_path: Path) -> None:
    from skinlesion_cli.core.evaluation import predict_and_evaluate
    from skinlesion_cli.core.predictor import load_predictor

    run, _ = trainer(data, tmp_path, epochs=1, precision="auto")
    (record,) = run.run()
    predictor = load_predictor(run.folder.best, batch_size=8, num_workers=0)
    predictions, _, document = predict_and_evaluate(predictor, read_split(data, "val"))
    assert document["weighted_f1"] == record.val_weighted_f1
    assert document["weighted_loss"] == pytest.approx(record.val_loss, rel=1e-6)
    assert score(predictions).summary["accuracy"] == record.val_accuracy
