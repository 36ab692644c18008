"""Training on a GPU: every precision, resuming, and a step that is that of the CPU and waits for nothing."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from skinlesion_cli.common.errors import SkinLesionError, TrainingError
from skinlesion_cli.data.augment import AUGMENTATIONS, augment, draw_parameters
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.models.device import Runtime
from skinlesion_cli.training import trainer as training
from skinlesion_cli.training.faults import named_faults
from tests.support.runs import WITH_DROPOUT, run_with_overflow, steps_of, stop_after, trainer, weights_of

pytestmark = pytest.mark.gpu

CLOSE = {"fp32": 0.01, "fp16": 0.02, "bf16": 0.05}
"""Relative differences of losses between two runs on one GPU, where the order of summation varies."""


def require_precision(device: str, precision: str) -> None:
    if device == "cpu" and precision == "fp16":
        pytest.skip("fp16 is not supported on the CPU")
    if device == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported(False):
        pytest.skip("this GPU does not support bfloat16")


def random_state(device: str) -> list[int]:
    state = torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()
    return state.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("precision", CLOSE)
def test_it_trains_and_resumes_where_it_was_stopped(
    device: str, precision: str, data: Path, tmp_path: Path
) -> None:
    require_precision(device, precision)
    options = {"model_arch": WITH_DROPOUT, "epochs": 2, "device": device, "precision": precision}
    whole = trainer(data, tmp_path / "whole", **options)[0].run()
    expected = random_state(device)
    stop_after(data, tmp_path / "part", 4, **options)
    torch.manual_seed(999)  # whatever happens in between
    resumed = trainer(data, tmp_path / "part", resume=True, **options)[0].run()
    assert random_state(device) == expected
    assert len(whole) == len(resumed) == 2
    for one, other in zip(whole, resumed, strict=True):
        assert math.isfinite(one.train_loss)
        assert other.train_loss == pytest.approx(one.train_loss, rel=CLOSE[precision])
        assert other.val_loss == pytest.approx(one.val_loss, rel=5 * CLOSE[precision])


@pytest.mark.parametrize("direction", ["from the CPU", "to the CPU"])
def test_a_run_is_resumed_on_the_other_device(
    direction: str, device: str, data: Path, tmp_path: Path
) -> None:
    first, second = ("cpu", device) if direction == "from the CPU" else (device, "cpu")
    options = {"epochs": 2, "ema_decay": 0.9}
    whole = trainer(data, tmp_path / "whole", device=first, **options)[0].run()
    stop_after(data, tmp_path / "part", 2, device=first, **options)
    history = trainer(data, tmp_path / "part", resume=True, device=second, **options)[0].run()
    assert [one.train_loss for one in history] == pytest.approx([one.train_loss for one in whole], rel=0.02)


def test_a_step_is_that_of_the_cpu(device: str, data: Path, tmp_path: Path) -> None:
    steps, statistics = [], []
    for name in ("cpu", device):
        run, _ = trainer(data, tmp_path / f"on {name}", device=name, epochs=1)
        run.runtime = dataclasses.replace(run.runtime, tf32=False)
        steps.append(steps_of(run))
        state = run.model.state_dict()
        statistics.append(torch.cat([one.cpu() for key, one in state.items() if "running" in key]))
    for (sums, gradient), (sums_there, gradient_there) in zip(*steps, strict=True):
        assert sums_there == pytest.approx(sums, rel=2e-3)
        one, other = (
            torch.cat([value.cpu().flatten() for value in values.values()])
            for values in (gradient, gradient_there)
        )
        assert (other - one).norm() < 0.02 * one.norm()
    assert torch.allclose(statistics[1], statistics[0], rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_is_that_of_the_cpu_with_and_without_tf32(device: str, name: str) -> None:
    generator = np.random.default_rng(0)
    ranges = AUGMENTATIONS[name]
    parameters = torch.from_numpy(np.stack([draw_parameters(generator, ranges) for _ in range(8)]))
    images = torch.from_numpy(generator.integers(0, 256, (8, 3, 64, 64), np.uint8))
    expected = augment(images, parameters, ranges.corners)
    made = []
    for tf32 in (False, True):
        with Runtime(torch.device(device), torch.float32, tf32=tf32).alone():
            made.append(augment(images.to(device), parameters, ranges.corners).cpu())
    assert torch.equal(*made)
    # A pixel on the edge of two may be taken from the other.
    moved = ((made[0] - expected).abs() > 1e-4).any(dim=1).float().mean()
    assert moved < 0.005


def test_a_forward_overflow_in_fp16_ends_no_run(data: Path, tmp_path: Path) -> None:
    options = {"precision": "fp16", "ema_decay": 0.9, "epoch_size_mult": 2.0, "epochs": 1}
    run, _ = trainer(data, tmp_path, device="cuda", **options)
    run_with_overflow(run)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_warm_step_waits_for_nothing(
    precision: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The figures of the epoch are read a few times per second: here, only after its last step.
    monkeypatch.setattr(training, "SECONDS_BETWEEN_EVENTS", math.inf)
    options = {"ema_decay": 0.9, "mixup": 0.4, "cutmix": 1.0, "num_workers": 2, "epochs": 1}
    run, _ = trainer(data, tmp_path, device="cuda", precision=precision, epoch_size_mult=3.0, **options)
    done = []

    def stepped(*_: object) -> None:
        done.append(1)
        torch.cuda.set_sync_debug_mode("error" if 3 <= len(done) < 6 else "default")

    run.optimizer.register_step_post_hook(stepped)
    try:
        run.run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(done) > 6


def test_a_compiled_model_trains_two_epochs(device: str, data: Path, tmp_path: Path) -> None:
    precision = "fp16" if device == "cuda" else "fp32"
    options = {"model_arch": "test_resnet", "compile": True, "epochs": 2, "precision": precision}
    run, _ = trainer(data, tmp_path, device=device, **options)
    history = run.run()
    assert all(math.isfinite(one.train_loss) for one in history)
    assert weights_of(run.folder.best).keys() == run.model.state_dict().keys()


def test_what_is_copied_while_the_device_works_arrives_whole(device: str, data: Path, tmp_path: Path) -> None:
    expected = list(trainer(data, tmp_path / "a", pin_memory=False)[0].loader)
    run, _ = trainer(data, tmp_path / "b", device=device, pin_memory=True, num_workers=2)
    busy, moved = torch.randn(1024, 1024, device=device), []
    for images, labels, _ in run.loader:
        assert images.is_pinned() == (device == "cuda")
        for _ in range(20 if device == "cuda" else 0):
            busy = (busy @ busy).clamp(-1, 1)
        moved.append((run.runtime.put(images), run.runtime.move(labels)))
        # Its memory may be used again at once.
        del images, labels
    for (images, labels, _), (images_there, labels_there) in zip(expected, moved, strict=True):
        assert torch.equal(images_there.cpu(), images)
        assert torch.equal(labels_there.cpu(), labels)


@contextlib.contextmanager
def memory_left(size: int) -> Iterator[None]:
    """Inside, this process may take `size` more bytes of the GPU's memory."""
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + size) / whole)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def test_out_of_memory_in_training_is_one_line(data: Path, tmp_path: Path) -> None:
    options = {"batch_size": 64, "img_size": 256, "epoch_size_mult": 3.0, "epochs": 1}
    run, _ = trainer(data, tmp_path, device="cuda", **options)
    expected = r"^out of memory with batches of 64 images of 256 pixels: use a smaller --batch-size"
    with (
        memory_left(32 * 2**20),
        pytest.raises(TrainingError, match=expected) as told,
        named_faults(run.settings),
    ):
        run.run()
    assert "\n" not in str(told.value)


def test_out_of_memory_in_prediction_is_one_line(checkpoint: Path, picture: Path) -> None:
    predictor = load_predictor(checkpoint, device="cuda", batch_size=64)
    predictor.predict(picture)
    expected = r"^out of memory on images of 64 pixels: use a smaller --batch-size"
    with memory_left(2**20), pytest.raises(SkinLesionError, match=expected) as told:
        list(predictor.predict_many([picture] * 64))
    assert "\n" not in str(told.value)
