"""The public function `explain`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import skinlesion_cli
from skinlesion_cli import explain
from skinlesion_cli.api.explain import Explanation
from skinlesion_cli.common.errors import InputError, UnreadableImageError
from skinlesion_cli.common.events import Event, ImagesDone
from tests.support.known_location import bright_pixels, panels_of, picture_with_blob
from tests.support.pictures import HOTTEST, pixels_of


def test_paths_images_and_arrays_give_the_same_maps(tmp_path: Path) -> None:
    picture, path = picture_with_blob((90, 70), (38, 28)), tmp_path / "blob.png"
    picture.save(path)
    events: list[Event] = []
    found = explain(bright_pixels(), [path, str(path), picture, np.asarray(picture)], on_event=events.append)
    assert [one.source for one in found] == [str(path), str(path), "image 2", "image 3"]
    assert events == [ImagesDone("explaining", done, 4) for done in (1, 2, 3, 4)]
    for one in found:
        np.testing.assert_array_equal(one.heat, found[0].heat)
    assert (found[0].label, found[0].heat.shape) == ("blob", (64, 64))
    assert found[0].heat.max() == 1


@pytest.mark.parametrize("kind", [str, Path, Image.open, lambda path: np.asarray(Image.open(path))])
def test_a_single_image_need_not_be_in_a_list(kind: type, tmp_path: Path) -> None:
    path = tmp_path / "blob.png"
    picture_with_blob((90, 70), (38, 28)).save(path)
    assert [one.label for one in explain(bright_pixels(), kind(path), top=2)] == ["blob", "none"]
    assert [one.label for one in explain(bright_pixels(), kind(path), classes="none")] == ["none"]


def test_an_image_lying_on_its_side_is_turned_upright() -> None:
    lying = picture_with_blob((90, 70), (38, 28)).transpose(Image.Transpose.ROTATE_90)
    lying.getexif()[0x0112] = 6
    (found,) = explain(bright_pixels(), lying)
    assert found.image.size == (90, 70)


def test_an_explanation_as_a_document_and_as_pictures(tmp_path: Path) -> None:
    picture = picture_with_blob((90, 70), (38, 28))
    (found,) = explain(bright_pixels(), picture, method="layercam", faithfulness=True)
    document = found.to_dict()
    assert list(document) == [
        *("image", "class", "confidence", "method", "layer", "grid", "frame", "faithfulness"),
    ]
    assert document["grid"] == [8, 8]
    assert document["frame"] == pytest.approx([14.4, 4.8, 75.6, 65.8], abs=1)
    assert document["faithfulness"]["insertion"] > document["faithfulness"]["random_insertion"]
    found.save(tmp_path / "map.png", alpha=0.4)
    with Image.open(tmp_path / "map.png") as drawn:
        assert drawn.width > 1000
        assert len(panels_of(drawn)) == 2
    assert pixels_of(tmp_path / "map.png", HOTTEST) > 20
    # The map colours the blob, and leaves what lies outside the frame as it was.
    overlay = np.asarray(found.overlay(alpha=1.0)).astype(int)
    assert overlay.shape == (70, 90, 3)
    assert np.abs(overlay[:, :10] - np.asarray(picture)[:, :10]).max() < 12
    assert np.abs(overlay[28, 38] - np.asarray(picture)[28, 38]).max() > 50
    large = picture.resize((450, 350))
    assert explain(bright_pixels(), large)[0].overlay().size == (450, 350)


def test_what_is_not_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    with pytest.raises(UnreadableImageError, match=r"text\.jpg: it is not an image"):
        explain(bright_pixels(), tmp_path / "text.jpg")
    for image in (3, np.zeros((4, 4)), np.zeros((9, 9, 3), np.float32)):
        with pytest.raises(InputError, match=r"image 0 is .+; give a path, a PIL image or an array"):
            explain(bright_pixels(), [image])  # type: ignore[list-item]
    with pytest.raises(InputError, match="no class 'blot'; did you mean blob"):
        explain(bright_pixels(), picture_with_blob((90, 70), (38, 28)), classes=["blot"])


def test_it_is_public_and_frozen() -> None:
    assert {"explain", "Explanation"} <= set(dir(skinlesion_cli))
    (found,) = explain(bright_pixels(), picture_with_blob((90, 70), (38, 28)))
    assert isinstance(found, Explanation)
    with pytest.raises(AttributeError, match="cannot assign to field 'label'"):
        found.label = "none"  # type: ignore[misc]
