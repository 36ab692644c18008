"""Each way of making a photograph square is torchvision's, and the frame is where the pixels come from."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from skinlesion_cli.common.paper import IMAGENET_MEAN, IMAGENET_STD, Resize
from skinlesion_cli.curation.synthetic import draw_lesion
from skinlesion_cli.data.framing import Frame, cut_by_crop, cut_share, fitted, resize_side, seen_frame
from skinlesion_cli.models.preprocessing import Preprocessing
from tests.support.fits import FITS, reference_view, resize_of

LESION = draw_lesion("synthetic blotch", 5)
SIZES = [(200, 150), (150, 200), (600, 450), (64, 64), (97, 401), (1024, 768), (19, 9)]


def test_the_shorter_side_is_rounded_and_not_truncated() -> None:
    assert resize_side(256) == 292  # 1.14 × 256 = 291.84


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [64, 256])
def test_the_view_equals_torchvision_to_the_bit(fit: str, size: tuple[int, int], side: int) -> None:
    image, resize = LESION.resize(size), resize_of(fit)
    assert np.array_equal(
        np.asarray(fitted(image, side, resize)), np.asarray(reference_view(image, side, fit))
    )


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(600, 450), (150, 420), (300, 300)])
def test_the_frame_is_where_the_view_comes_from(fit: str, size: tuple[int, int]) -> None:
    # A picture whose colours are its coordinates tells where each pixel of the view came from. The border's
    # blue is 104, and the picture's 0.
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    pixels = np.stack([255 * x / size[0], 255 * y / size[1], 0 * x], axis=2)
    resize = resize_of(fit)
    view = np.asarray(fitted(Image.fromarray(pixels.astype(np.uint8)), 128, resize)).astype(float)
    frame = seen_frame(size, 128, resize)
    step = (frame.right - frame.left) / 128, (frame.bottom - frame.top) / 128
    rows, columns = np.nonzero(view[:, :, 2] == 0)
    assert len(rows) > 128 * 40
    for channel, (places, start) in enumerate(((columns, frame.left), (rows, frame.top))):
        found = view[rows, columns, channel] * size[channel] / 255
        assert found == pytest.approx(start + (places + 0.5) * step[channel], abs=size[channel] / 80)


def test_the_border_of_a_padded_image_is_nearly_zero_in_the_models_input() -> None:
    preprocessing = Preprocessing(64, IMAGENET_MEAN, IMAGENET_STD, Resize(fit="pad"))
    view = fitted(LESION.resize((60, 20)), 64, preprocessing.resize)
    normalised = v2.functional.normalize(
        v2.functional.to_dtype(v2.functional.to_image(view), scale=True), [*IMAGENET_MEAN], [*IMAGENET_STD]
    )
    shown = int(64 * 20 / 60)
    top = (64 - shown) // 2
    assert normalised[:, :top].abs().max() <= 0.5 / 255 / min(IMAGENET_STD)
    assert normalised[:, top + shown :].abs().max() <= 0.5 / 255 / min(IMAGENET_STD)
    assert normalised[:, top : top + shown].abs().max() > 0.5
    assert Preprocessing(64, (-1.0, 0.5, 2.0), (1.0,) * 3, Resize(fit="pad")).resize.border == (0, 128, 255)
    assert Preprocessing(64, IMAGENET_MEAN, IMAGENET_STD, Resize(fit="squash")).resize.border == (0, 0, 0)


def test_the_frame_of_each_fit() -> None:
    frames = {fit: seen_frame((400, 200), 100, resize_of(fit)) for fit in FITS}
    assert frames["pad"] == Frame(0, -100, 400, 300)
    assert frames["pad"].within((400, 200)) == frames["squash"] == Frame(0, 0, 400, 200)
    assert frames["crop"].within((400, 200)) == frames["crop"]
    assert frames["crop"].left == pytest.approx(400 * 64 / 228)


def test_the_share_that_the_crop_cuts() -> None:
    assert cut_share((256, 256), 256) == pytest.approx(1 - (256 / 292) ** 2)
    for size in ((400, 300), (300, 400)):
        assert cut_share(size, 256) == pytest.approx(1 - 0.75 * (256 / 292) ** 2, abs=0.003)
    assert [cut_share((400, 300), 256, resize_of(fit)) for fit in ("pad", "squash")] == [0, 0]
    found = cut_by_crop([(300, 300), (300, 400), (400, 300)], 256)
    assert found == {"images": 2, "share": 2 / 3, "median": cut_share((400, 300), 256)}
    assert cut_by_crop([], 256) is None
