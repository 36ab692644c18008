import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from skinlesion_cli.data.framing import seen_frame
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.thumbnail import data_uri
from skinlesion_cli.report.heatmaps.thumbnails import heat_pictures
from skinlesion_cli.saliency.explanation import Explanation
from tests.support.fits import resize_of


def opened(uri: str) -> Image.Image:
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_picture_is_small_and_says_nothing_but_its_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (600, 300), "tan").save(path, exif=exif, comment=b"Jane Doe")
    assert b"Jane Doe" in path.read_bytes()
    uri = data_uri(read_image(path))
    assert opened(uri).size == (240, 120)
    assert b"Jane Doe" not in base64.b64decode(uri.split(",")[1])


def test_the_map_lies_in_the_frame_alone() -> None:
    image = Image.new("RGB", (480, 320), (120, 120, 120))
    heat = np.zeros((64, 64), np.float32)
    heat[:, 32:] = 1
    frame = seen_frame(image.size, 64)
    photo, mapped = (
        np.asarray(opened(data_uri(picture))).astype(int)
        for picture in heat_pictures(Explanation(image, frame, heat, (2, 2), "layer", "x", 0.5))
    )
    assert photo.shape == mapped.shape == (160, 240, 3)
    left, right = round(frame.left / 2), round(frame.right / 2)
    assert abs(mapped[:, : left - 10] - 120).max() < 8
    # The cells with evidence are outlined in light yellow, and the photograph's own colours are left inside.
    middle = (left + right) // 2
    assert abs(mapped[60:100, middle + 8 : right - 8] - 120).max() < 30
    assert np.median(mapped[60:100, middle + 1, 0]) > 200
    assert np.median(mapped[60:100, middle + 1, 2]) < 190
    assert abs(mapped[60:100, left + 8 : middle - 8] - 120).max() < 8
    assert abs(photo[80, left + 15] - 120).max() < 8


def test_of_a_padded_photograph_only_its_own_part_of_the_map_is_drawn() -> None:
    image = Image.new("RGB", (480, 240), (120, 120, 120))
    frame = seen_frame(image.size, 64, resize_of("pad"))
    assert (frame.top, frame.bottom) == (-120, 360)
    row = np.arange(64)[:, None] + np.zeros((1, 64))

    def drawn(lit: np.ndarray) -> np.ndarray:
        one = Explanation(image, frame, lit.astype(np.float32), (64, 64), "layer", "x", 0.5)
        photo, mapped = heat_pictures(one, alpha=1.0, side=480)
        assert photo.size == mapped.size == (480, 240)
        # The frame is on the photograph's own edges.
        assert {photo.getpixel(corner) for corner in ((0, 0), (479, 239))} == {(0, 0, 0)}
        return np.asarray(mapped)[3:-3, 3:-3].max(axis=2)

    # The photograph is in rows 16 to 47 of the map. Evidence on the border is not on it.
    assert drawn(row < 16).max() < 60
    upper = drawn((row >= 16) & (row < 32))
    assert upper[:116].min() > 200
    assert upper[118:].max() < 60
