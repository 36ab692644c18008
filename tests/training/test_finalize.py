import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.events import Event, Note
from skinlesion_cli.data.eval_views import viewed_batches
from skinlesion_cli.data.splits import Split, read_split
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.inference.scoring import predict_and_evaluate
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.models.backbone import (
    create_model,
    features_of,
    has_linear_head,
    levels_of,
    statistics_of,
)
from skinlesion_cli.models.checkpoint import load_checkpoint, save_checkpoint
from skinlesion_cli.models.device import choose_runtime
from skinlesion_cli.training.finalize import finalize
from tests.support.foreign import foreign_pictures

CPU = choose_runtime("cpu", "fp32", training=False)


@pytest.fixture
def plain(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint as training leaves it."""
    path = tmp_path / "best_model.pth"
    loaded = load_checkpoint(checkpoint)
    save_checkpoint(path, dataclasses.replace(loaded, temperature=1.0, novelty=None, distance_limit=None))
    return path


def finished(path: Path, data: Path) -> list[Event]:
    events: list[Event] = []
    train, val = read_split(data, "train"), read_split(data, "val")
    # Any network of the checkpoint's architecture: it gets the checkpoint's weights.
    model = create_model("mobilevitv2_050", len(train.classes), 64).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    finalize(path, model, train, val, runtime=CPU, batch_size=8, workers=0, on_event=events.append)
    return events


def logits_of(path: Path, split: Split) -> torch.Tensor:
    loaded = load_checkpoint(path)
    backend = TorchBackend(loaded.build(), loaded.preprocessing, CPU)
    batches = viewed_batches(split.paths, img_size=64, batch_size=8, workers=0)
    return torch.cat([backend.logits(torch.from_numpy(batch.images)) for batch in batches])


def test_no_other_temperature_fits_validation_better(plain: Path, data: Path) -> None:
    assert any(isinstance(event, Note) and "temperature" in event.text for event in finished(plain, data))
    val = read_split(data, "val")
    logits, labels = logits_of(plain, val), torch.tensor(val.labels)
    fitted = load_checkpoint(plain).temperature
    losses = [
        float(functional.cross_entropy(logits / t, labels)) for t in (fitted, fitted * 1.1, fitted * 0.9, 1)
    ]
    assert losses[0] == min(losses)
    assert fitted != 1


def test_probabilities_follow_the_temperature_and_decisions_do_not(plain: Path, data: Path) -> None:
    split = read_split(data, "test")
    before, _, _ = predict_and_evaluate(load_predictor(plain), split)
    finished(plain, data)
    after, _, document = predict_and_evaluate(load_predictor(plain), split)
    assert np.array_equal(before.predicted, after.predicted)
    temperature = load_checkpoint(plain).temperature
    expected = torch.softmax(logits_of(plain, split).double() / temperature, dim=1).numpy()
    assert after.probabilities == pytest.approx(expected, abs=1e-6)
    assert document["calibration"]["temperature"] == temperature
    assert document["calibration"]["before"]["nll"] == pytest.approx(
        float(functional.cross_entropy(logits_of(plain, split), torch.tensor(split.labels))), rel=1e-4
    )


def test_finishing_twice_is_finishing_once(plain: Path, data: Path) -> None:
    finished(plain, data)
    first = load_checkpoint(plain)
    finished(plain, data)
    second = load_checkpoint(plain)
    assert (first.temperature, first.distance_limit) == (second.temperature, second.distance_limit)


def test_the_exported_file_knows_the_same_distances(checkpoint: Path, exported: Path, data: Path) -> None:
    paths = read_split(data, "test").paths
    by_torch, by_onnx = (list(load_predictor(file).predict_many(paths)) for file in (checkpoint, exported))
    expected = [one.distance for one in by_torch]  # type: ignore[union-attr]
    assert [one.distance for one in by_onnx] == pytest.approx(expected, rel=1e-3)  # type: ignore[union-attr]
    assert len(set(expected)) > 1


@pytest.mark.parametrize("arch", ["mobilevitv2_050", "resnet10t", "tf_efficientnet_lite0", "test_vit"])
def test_features_and_head_are_the_model(arch: str) -> None:
    torch.manual_seed(0)
    model = create_model(arch, 5, 160).eval()
    inputs = torch.randn(2, 3, 160, 160)
    assert has_linear_head(model, 160)
    with torch.inference_mode():
        features, logits = features_of(model, inputs)
        assert torch.allclose(logits, model(inputs), atol=1e-5)
    assert features.ndim == 2


def test_a_head_that_is_more_than_linear_is_recognised() -> None:
    model = create_model("resnet10t", 5, 64).eval()

    class Doubled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return 2 * self.inner(inputs)

        def __getattr__(self, name: str) -> object:
            return super().__getattr__(name) if name == "inner" else getattr(self.inner, name)

    assert has_linear_head(model, 64)
    assert not has_linear_head(Doubled().eval(), 64)
    assert not has_linear_head(torch.nn.Conv2d(3, 5, 3).eval(), 64)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"temperature": 0.0}, "invalid temperature"),
        ({"temperature": float("nan")}, "invalid temperature"),
        ({"temperature": "warm"}, "invalid temperature"),
        ({"novelty": {"mean": torch.zeros(3)}}, "invalid out-of-distribution detector"),
        ({"novelty": "far"}, "invalid out-of-distribution detector"),
    ],
)
def test_nonsense_in_a_checkpoint_is_refused(
    plain: Path, entries: dict[str, object], message: str, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.pth"
    shutil.copy(plain, changed)
    torch.save(torch.load(plain, weights_only=True) | entries, changed)
    with pytest.raises(InputError, match=message):
        load_checkpoint(changed)


def test_foreign_pictures_are_warned_of_and_test_images_are_not(
    checkpoint: Path, exported: Path, data: Path
) -> None:
    pictures = foreign_pictures(8)
    for file in (checkpoint, exported):
        predictor = load_predictor(file)
        known = [one.out_of_distribution for one in predictor.predict_many(read_split(data, "test").paths)]  # type: ignore[union-attr]
        assert sum(known) <= 1
        for kind, those in pictures.items():
            flagged = [predictor.predict(one).out_of_distribution for one in those]
            assert all(flagged), (kind, flagged)
        assert predictor.checkpoint.false_alarm_rate == 2 / 33


def test_a_checkpoint_of_an_earlier_version_keeps_its_detector(
    checkpoint: Path, tmp_path: Path, data: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    # As it was: of the features before the head, without a scale and a rate.
    novelty = {"mean": torch.zeros(256), "directions": torch.zeros(256, 2), "noise": 0.5}
    del content["false_alarm_rate"]
    torch.save(content | {"novelty": novelty}, tmp_path / "old.pth")
    loaded = load_checkpoint(tmp_path / "old.pth")
    assert loaded.false_alarm_rate is None
    (path, *_) = read_split(data, "test").paths
    distance = load_predictor(tmp_path / "old.pth").predict(path).distance
    with torch.inference_mode():
        batch = next(iter(viewed_batches([path], img_size=64, batch_size=1, workers=0))).images
        features, _ = TorchBackend(loaded.build(), loaded.preprocessing, CPU).features(
            torch.from_numpy(batch)
        )
    expected = float((features.square().sum() / 0.5 / 256).sqrt()) / content["distance_limit"]
    assert distance == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("arch", "levels", "features"),
    [
        ("mobilevitv2_050", 3, 448),
        ("resnet10t", 3, 512),
        ("tf_efficientnet_lite0", 3, 160),
        ("test_vit", 1, 128),
    ],
)
def test_statistics_are_those_of_the_first_feature_maps(arch: str, levels: int, features: int) -> None:
    torch.manual_seed(0)
    model = create_model(arch, 5, 160).eval()
    assert levels_of(model, 160) == levels
    inputs = torch.randn(2, 3, 160, 160)
    with torch.inference_mode():
        statistics, logits = statistics_of(model, inputs, levels)
        assert torch.allclose(logits, model(inputs), atol=1e-5)
        _, (first, *_) = model.forward_intermediates(inputs)
    channels = first.shape[1]
    assert statistics.shape == (2, features)
    assert torch.allclose(statistics[:, :channels], first.mean(dim=(2, 3)), atol=1e-5)
    deviation = first.std(dim=(2, 3), correction=0)
    assert torch.allclose(statistics[:, channels : 2 * channels], (deviation + 0.01).log(), atol=1e-4)
    assert levels_of(torch.nn.Conv2d(3, 5, 3).eval(), 64) == 0


def test_the_model_is_examined_in_the_precision_of_scoring(plain: Path, data: Path) -> None:
    train, val = read_split(data, "train"), read_split(data, "val")
    model = create_model("mobilevitv2_050", len(train.classes), 64)
    seen: list[str] = []
    model.register_forward_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    # As training leaves it.
    torch.set_float32_matmul_precision("high")
    try:
        finalize(plain, model, train, val, runtime=CPU, batch_size=8, workers=0)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(seen) == {"highest"}


def test_a_lack_of_memory_is_no_lack_of_a_head(plain: Path) -> None:
    class Greedy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, _: torch.Tensor) -> torch.Tensor:
            return torch.empty(2**50, dtype=torch.uint8)

        forward_features = forward_intermediates = forward_head = forward

    for look in (levels_of, has_linear_head):
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            look(Greedy().eval(), 64)
    backend = TorchBackend(Greedy(), load_checkpoint(plain).preprocessing, CPU, frozen=True)
    with pytest.raises(
        SkinLesionError, match=r"^out of memory on images of 64 pixels: use a smaller --batch"
    ):
        backend.logits(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
