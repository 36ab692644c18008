from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from skinlesion_cli.common.errors import InputError, TrainingError
from skinlesion_cli.common.events import EpochDone, Event, Note, StepsDone
from skinlesion_cli.data.augment import augment, normalize
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.metrics.classification import score
from skinlesion_cli.models.device import Runtime, choose_runtime
from skinlesion_cli.training.trainer import Trainer
from tests.support.runs import assert_same_outcome, run_with_overflow, steps_of, trainer, weights_of


def test_a_resumed_run_equals_one_that_never_stopped_to_the_bit(data: Path, tmp_path: Path) -> None:
    whole, _ = trainer(data, tmp_path / "whole")
    whole.run()
    stopped, _ = trainer(data, tmp_path / "stopped")
    stop_after_first_epoch(stopped)
    torch.manual_seed(999)  # whatever happens in between
    resumed, events = trainer(data, tmp_path / "stopped", resume=True)
    assert Note("resuming after epoch 1") in events
    resumed.run()
    assert_same_outcome(tmp_path / "whole", tmp_path / "stopped")


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
    run.draws.start_epoch(1)
    logits, labels = [], []
    for images, targets, parameters in run.loader:
        inputs = normalize(augment(images, parameters), run.preprocessing.mean, run.preprocessing.std)
        torch.manual_seed(0)
        logits.append(model(inputs.contiguous(memory_format=torch.channels_last)).detach())
        labels.append(targets)
    expected = torch.nn.functional.cross_entropy(
        torch.cat(logits), torch.cat(labels), weight=run.loss.weights
    )
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
    assert said[0] == "image cache: off (training); off (validation)"
    assert said[1].startswith("image cache: memory, ")
    assert said[2].startswith(f"image cache: {tmp_path / 'cache' / 'skinlesion' / 'images'}")


def test_gradients_are_clipped(data: Path, tmp_path: Path) -> None:
    def norms(limit: float) -> list[float]:
        run, _ = trainer(data, tmp_path / str(limit), grad_clip_norm=limit, epochs=1)
        return [
            float(torch.linalg.vector_norm(torch.stack([one.norm() for one in gradient.values()])))
            for _, gradient in steps_of(run)
        ]

    assert norms(1e-3) == pytest.approx([1e-3] * 3, rel=1e-3)
    assert min(norms(0.0)) > 0.01


def test_it_stops_when_patience_is_spent(data: Path, tmp_path: Path) -> None:
    run, events = trainer(data, tmp_path, epochs=50, patience=2, learning_rate=1e-9)
    history = run.run()
    best = max(record.epoch for record in history if record.best)
    assert len(history) == best + 2 < 50
    assert events[-1] == Note("stopped early: no improvement in 2 epochs")


def test_the_best_checkpoint_is_the_epoch_with_the_best_weighted_f1(data: Path, tmp_path: Path) -> None:
    run, _ = trainer(data, tmp_path, learning_rate=3e-3)
    history = run.run()
    content = torch.load(run.folder.best, weights_only=True)
    best = max(record.val_weighted_f1 for record in history)
    assert content["metrics"]["val_weighted_f1"] == best
    assert content["epoch"] == next(record.epoch for record in history if record.val_weighted_f1 == best)


def test_a_loss_that_is_not_finite_stops_it_and_keeps_the_checkpoint(data: Path, tmp_path: Path) -> None:
    run, _ = trainer(data, tmp_path)

    def spoil(event: Event) -> None:
        if isinstance(event, EpochDone):
            run.loss.weights[:] = float("inf")

    run.on_event = spoil
    with pytest.raises(
        TrainingError, match=r"the loss became (nan|inf) in epoch 2 by step 1, which used"
    ) as told:
        run.run()
    run.draws.start_epoch(2)
    batch = {str(run.train_split.files[index]) for index in run.draws.images_of_steps(0, 1)}
    assert {name for name in map(str, run.train_split.files) if name in str(told.value)} == batch
    assert torch.load(run.folder.last, weights_only=True)["epoch"] == 1


def test_weights_that_are_not_finite_replace_no_checkpoint(data: Path, tmp_path: Path) -> None:
    run, _ = trainer(data, tmp_path, save_every=1)

    def spoil(event: Event) -> None:
        if isinstance(event, StepsDone) and (event.epoch, event.step) == (2, 3):
            next(run.model.parameters()).data[0] = torch.nan

    run.on_event = spoil
    with pytest.raises(TrainingError, match="weights became infinite or undefined in epoch 2 by step 3"):
        run.run()
    content = torch.load(run.folder.last, weights_only=True)
    assert (content["epoch"], content["training"]["step"]) == (2, 2)
    assert content["model"]
    assert all(torch.isfinite(value).all() for value in content["model"].values())


def test_resuming_with_other_settings_names_each_difference(data: Path, tmp_path: Path) -> None:
    run, _ = trainer(data, tmp_path, epochs=1)
    run.run()
    changes = r"learning_rate was 0.0003 and is 0.1, seed was 3 and is 4; .*--overwrite"
    with pytest.raises(InputError, match=changes):
        trainer(data, tmp_path, resume=True, epochs=1, learning_rate=0.1, seed=4)


def test_a_compiled_model_leaves_plain_names(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch.compile itself, without the minutes that its default compiler takes.
    compile_ = torch.compile
    of_any_size: list[bool] = []

    def compiler(graph: torch.fx.GraphModule, inputs: list[object]) -> object:
        of_any_size.append(any(isinstance(one, torch.SymInt) for one in inputs))
        return graph.forward

    monkeypatch.setattr(
        torch, "compile", lambda model, **options: compile_(model, backend=compiler, **options)
    )
    run, _ = trainer(data, tmp_path, compile=True, epochs=1)
    assert type(run.forward).__name__ == "OptimizedModule"
    run.run()
    assert weights_of(run.folder.best).keys() == run.model.state_dict().keys()
    # Batches of 8 and, at the end of the epoch, of 7: each has its own code.
    assert len(of_any_size) >= 2
    assert not any(of_any_size)


def test_bfloat16_trains_on_the_cpu(data: Path, tmp_path: Path) -> None:
    run, events = trainer(data, tmp_path, precision="bf16", epochs=1)
    run.run()
    assert Note("computing on cpu, bfloat16 mixed precision") in events
    assert weights_of(run.folder.best)["stem.conv.weight"].dtype == torch.float32


def test_precision_is_settled_by_purpose_and_device() -> None:
    assert choose_runtime("cpu", "auto", training=False).dtype == torch.float32
    fast = torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32
    assert choose_runtime("cpu", "auto", training=True).dtype == fast
    with pytest.raises(InputError, match="fp16 is not supported on the CPU"):
        choose_runtime("cpu", "fp16", training=True)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no cuda device"):
            choose_runtime("cuda", "auto", training=True)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_validation_scores_are_those_of_the_finished_model(fit: str, data: Path, tmp_path: Path) -> None:
    from skinlesion_cli.inference.predictor import load_predictor
    from skinlesion_cli.inference.scoring import predict_and_evaluate

    run, _ = trainer(data, tmp_path, epochs=1, precision="auto", fit=fit)
    (record,) = run.run()
    predictor = load_predictor(run.folder.best, batch_size=8, num_workers=0)
    assert predictor.checkpoint.preprocessing.resize.fit == predictor.checkpoint.settings["fit"] == fit
    predictions, _, document = predict_and_evaluate(predictor, read_split(data, "val"))
    assert document["weighted_f1"] == record.val_weighted_f1
    assert document["weighted_loss"] == pytest.approx(record.val_loss, rel=1e-6)
    assert score(predictions).summary["accuracy"] == record.val_accuracy


@pytest.mark.parametrize("ema_decay", [0.0, 0.9], ids=["plain", "averaged"])
def test_an_overflow_of_the_forward_pass_under_a_scaler_ends_no_run(
    data: Path, tmp_path: Path, ema_decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runtime, "grad_scaler", lambda _: torch.amp.GradScaler("cpu"))
    run, _ = trainer(data, tmp_path, epochs=1, epoch_size_mult=2.0, ema_decay=ema_decay)
    assert run_with_overflow(run) > 4
