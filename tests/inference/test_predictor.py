import io
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import ExifTags, Image
from torchvision.transforms import v2

import skinlesion_cli
from skinlesion_cli import load_predictor
from skinlesion_cli.common.errors import InputError, SkinLesionError, UnreadableImageError
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.inference.prediction import Failure, Prediction
from skinlesion_cli.inference.scoring import predict_and_evaluate
from tests.conftest import CLASSES, draw_data_set


def test_a_prediction_equals_timm_and_torchvision(checkpoint: Path, picture: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    model = timm.create_model(content["arch"], num_classes=3).eval()
    model.load_state_dict(content["model"])
    mean, std = content["preprocessing"]["mean"], content["preprocessing"]["std"]
    view = v2.Compose([v2.Resize(73), v2.CenterCrop(64), v2.PILToTensor()])(Image.open(picture))
    with torch.inference_mode():
        logits = model(v2.functional.normalize(view / 255, mean, std)[None])[0]
    expected = (logits / content["temperature"]).softmax(dim=0)
    answer = load_predictor(checkpoint).predict(str(picture))
    assert list(answer.probabilities) == list(CLASSES)
    assert np.array(list(answer.probabilities.values())) == pytest.approx(expected.numpy(), abs=1e-5)
    assert answer.confidence == max(answer.probabilities.values()) == answer.top(1)[0][1]
    assert answer.image == str(picture)
    assert answer.to_dict() == {
        "image": str(picture),
        "class": answer.label,
        "confidence": answer.confidence,
        "probabilities": answer.probabilities,
        "out_of_distribution": answer.distance > 1,
        "distance": answer.distance,
    }
    without = Prediction("a.jpg", "b", 0.9, {"b": 0.9, "a": 0.1})
    assert (without.out_of_distribution, without.to_dict()["distance"]) == (None, None)


def test_one_unreadable_file_does_not_stop_the_rest(checkpoint: Path, picture: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"")
    predictor = load_predictor(checkpoint)
    first, failed, last = predictor.predict_many([picture, broken, picture])
    assert isinstance(failed, Failure)
    assert failed.image == str(broken)
    assert isinstance(first, Prediction)
    # A batch is looked at in pieces, whose sizes may round differently.
    assert isinstance(last, Prediction)
    assert last.label == first.label
    assert last.probabilities == pytest.approx(first.probabilities, abs=1e-6)
    with pytest.raises(UnreadableImageError, match="broken"):
        predictor.predict(broken)


def test_pictures_may_be_in_memory(exported: Path, data: Path) -> None:
    paths = read_split(data, "test").paths[:3]
    predictor = load_predictor(exported)
    by_path = [predictor.predict(path) for path in paths]
    with Image.open(paths[0]) as first:
        mixed = [first, np.asarray(Image.open(paths[1])), paths[2]]
        found = list(predictor.predict_many(mixed))
    assert [one.image for one in found] == ["image 0", "image 1", str(paths[2])]
    for one, expected in zip(found, by_path, strict=True):
        assert one.to_dict() == expected.to_dict() | {"image": one.image}


def test_a_picture_in_memory_is_turned_upright_and_left_as_it_was(exported: Path, tmp_path: Path) -> None:
    drawn = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    drawn.save(tmp_path / "lying.png", exif=exif)
    predictor = load_predictor(exported)
    with Image.open(tmp_path / "lying.png") as lying:
        found = predictor.predict(lying)
        assert (lying.size, lying.getexif()[ExifTags.Base.Orientation]) == ((100, 80), 6)
    assert found.probabilities == predictor.predict(tmp_path / "lying.png").probabilities


def test_one_picture_is_not_a_list_of_them(exported: Path, picture: Path) -> None:
    predictor = load_predictor(exported)
    for one in ("few", picture, np.zeros((64, 64, 3), np.uint8), Image.new("RGB", (64, 64))):
        with pytest.raises(InputError, match="takes a list of images, not a single one"):
            predictor.predict_many(one)
    with pytest.raises(InputError, match=r"image 0 is an array \(64, 64\) of float64; give a path"):
        predictor.predict(np.zeros((64, 64)))
    with pytest.raises(InputError, match="image 1 is of type int"):
        predictor.predict_many([picture, 3])
    truncated = Image.open(io.BytesIO(picture.read_bytes()[:1000]))
    with pytest.raises(UnreadableImageError, match="cannot read image 0"):
        predictor.predict(truncated)


def test_batches_and_workers_do_not_change_the_predictions(checkpoint: Path, data: Path) -> None:
    paths = read_split(data, "train").paths
    alone = list(load_predictor(checkpoint, batch_size=64, num_workers=0).predict_many(paths))
    split = list(load_predictor(checkpoint, batch_size=3, num_workers=2).predict_many(paths))
    assert [one.image for one in split] == [str(path) for path in paths]
    for one, other in zip(alone, split, strict=True):
        assert list(one.probabilities.values()) == pytest.approx(list(other.probabilities.values()), abs=1e-5)


def test_the_order_of_the_models_classes_need_not_be_alphabetical(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    order = [2, 0, 1]
    model = content["model"]
    for name in ("head.fc.weight", "head.fc.bias"):
        model[name] = model[name][order]
    content["classes"] = [CLASSES[i] for i in order]
    torch.save(content, tmp_path / "reordered.pth")
    split = read_split(data, "test")
    _, _, expected = predict_and_evaluate(load_predictor(checkpoint), split)
    _, _, document = predict_and_evaluate(load_predictor(tmp_path / "reordered.pth"), split)
    assert document["accuracy"] == expected["accuracy"]
    assert document["loss"] == pytest.approx(expected["loss"], abs=1e-6)
    assert document["weighted_loss"] == pytest.approx(expected["weighted_loss"], abs=1e-6)
    assert document["per_class"][CLASSES[2]]["support"] == expected["per_class"][CLASSES[2]]["support"]


def test_a_split_with_an_unreadable_image_is_not_scored(checkpoint: Path, tmp_path: Path) -> None:
    data = draw_data_set(tmp_path / "data", {"test": (1, 1, 1)})
    for name in ("x.jpg", "y.jpg"):
        (data / "test" / CLASSES[0] / name).write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=r"x\.jpg.*and 1 more"):
        predict_and_evaluate(load_predictor(checkpoint), read_split(data, "test"))


def test_classes_without_images_are_scored_and_unknown_ones_refused(checkpoint: Path, tmp_path: Path) -> None:
    data = draw_data_set(tmp_path / "data", {"test": (2, 1)}, classes=CLASSES[:2])
    _, scores, document = predict_and_evaluate(load_predictor(checkpoint), read_split(data, "test"))
    assert (document["n"], document["classes"]) == (3, list(CLASSES))
    assert [scores.per_class[name].support for name in CLASSES] == [2, 1, 0]
    assert document["per_class"][CLASSES[2]]["recall"] is None
    assert f"no images of {CLASSES[2]}: " in document["warnings"][0]
    (data / "test" / CLASSES[1]).rename(data / "test" / "unknown")
    with pytest.raises(
        InputError, match=r"has 2 classes and the checkpoint has 3 \(only in .*test: unknown\)"
    ):
        predict_and_evaluate(load_predictor(checkpoint), read_split(data, "test"))


def test_the_public_surface_is_small() -> None:
    names = {"Comparison", "Evaluation", "Prediction", "Predictor", "compare", "evaluate", "load_predictor"}
    assert names <= set(skinlesion_cli.__all__) == set(dir(skinlesion_cli))
    assert all(getattr(skinlesion_cli, name) is not None for name in skinlesion_cli.__all__)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        skinlesion_cli.absent  # noqa: B018


def test_a_size_that_the_model_cannot_take_is_named(tmp_path: Path, picture: Path) -> None:
    # Its attention has a fixed number of positions, which no bare state dict tells.
    arch = "efficientformer_l1"
    torch.save(timm.create_model(arch, num_classes=3).state_dict(), tmp_path / "bare.pth")
    predictor = load_predictor(tmp_path / "bare.pth", arch=arch, classes=CLASSES, img_size=64)
    for images in ([picture], [picture, picture]):
        with pytest.raises(SkinLesionError, match=r"fails on images of 64 pixels.* --img-size: The size of"):
            list(predictor.predict_many(images))
