"""Each batched operation is torchvision's, and what is drawn follows the paper's distributions."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare, ks_2samp, kstest
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as reference

from skinlesion_cli.curation.synthetic import KINDS, draw_lesion
from skinlesion_cli.data.augment import (
    ANGLE,
    AUGMENTATIONS,
    COLOUR,
    FLIP_X,
    FLIP_Y,
    ORDER,
    SHOWN,
    WHOLE,
    augment,
    crop,
    draw_crop,
    draw_parameters,
    draw_view,
    jitter,
    normalize,
    rotate,
)
from tests.support.fits import resize_of

CLOSE = 2 / 255
NEUTRAL = (0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Drawn lesions and noise of every colour: (8, 3, 64, 64)."""
    noise = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.manual_seed(0))
    drawn = [np.array(draw_lesion(kind, 1).resize((64, 64))) for kind in list(KINDS)[:4]]
    return torch.cat([torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2), noise])


def parameters(count: int, **columns: float) -> torch.Tensor:
    values = torch.tensor([NEUTRAL] * count)
    places = {"flip_x": FLIP_X, "flip_y": FLIP_Y, "order": ORDER, "angle": ANGLE}
    places |= dict(zip(("brightness", "contrast", "saturation", "hue"), range(2, 6), strict=True))
    for name, value in columns.items():
        values[:, places[name]] = value
    return values


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("brightness", factor) for factor in (0.9, 1.1)),
        *(("contrast", factor) for factor in (0.9, 1.1)),
        *(("saturation", factor) for factor in (0.9, 1.1)),
        *(("hue", shift) for shift in (-0.05, -0.01, 0.03, 0.05)),
    ],
)
def test_colour_operations_are_torchvisions(images: torch.Tensor, name: str, value: float) -> None:
    operation = getattr(reference, f"adjust_{name}")
    expected = operation(images, value).float() / 255
    found = jitter(images / 255, parameters(len(images), **{name: value}))
    assert (found - expected).abs().mean(dim=(1, 2, 3)).max() <= CLOSE
    # The images do change by more than that, but for brightness of what is dark.
    assert (found - images / 255).abs().mean() > 1 / 255


@pytest.mark.parametrize("angle", [-15.0, -3.5, 8.0, 15.0])
def test_rotation_is_torchvisions(images: torch.Tensor, angle: float) -> None:
    expected = reference.rotate(images / 255, angle, interpolation=InterpolationMode.NEAREST)
    found = rotate(images / 255, parameters(len(images), angle=angle))
    assert (found - expected).abs().max() < 1e-4


def test_flips_are_exact_and_come_before_the_rotation(images: torch.Tensor) -> None:
    across = rotate(images / 255, parameters(len(images), flip_x=1))
    down = rotate(images / 255, parameters(len(images), flip_y=1))
    assert torch.allclose(across, images.flip(-1) / 255, atol=1e-5)
    assert torch.allclose(down, images.flip(-2) / 255, atol=1e-5)
    both = rotate(images / 255, parameters(len(images), flip_x=1, angle=10))
    expected = reference.rotate(images.flip(-1) / 255, 10, interpolation=InterpolationMode.NEAREST)
    assert (both - expected).abs().max() < 1e-4


def test_a_batch_is_each_image_with_its_own_parameters_in_its_own_order(images: torch.Tensor) -> None:
    drawn = [draw_parameters(np.random.default_rng(seed)) for seed in range(len(images))]
    adjust = (
        reference.adjust_brightness,
        reference.adjust_contrast,
        reference.adjust_saturation,
        reference.adjust_hue,
    )
    from skinlesion_cli.data.augment import _ORDERS

    expected = []
    for image, own in zip(images, drawn, strict=True):
        if own[FLIP_X]:
            image = image.flip(-1)
        if own[FLIP_Y]:
            image = image.flip(-2)
        for number in _ORDERS[int(own[ORDER])].tolist():
            image = adjust[number](image, float(own[COLOUR][number]))
        expected.append(reference.rotate(image, float(own[ANGLE]), InterpolationMode.NEAREST))
    table = torch.from_numpy(np.stack(drawn))
    found = augment(images, table)
    assert (found - torch.stack(expected) / 255).abs().mean(dim=(1, 2, 3)).max() <= CLOSE
    # The way that a device takes, a whole batch at once, gives the same.
    assert torch.allclose(rotate(jitter(images / 255, table), table), found, atol=1e-5)


def test_parameters_follow_the_papers_distributions() -> None:
    generator = np.random.default_rng(5)
    drawn = np.stack([draw_parameters(generator) for _ in range(20_000)])
    assert binomtest(int(drawn[:, FLIP_X].sum()), len(drawn), 0.5).pvalue > 0.001
    assert binomtest(int(drawn[:, FLIP_Y].sum()), len(drawn), 0.2).pvalue > 0.001
    brightness, contrast, saturation, hue = drawn[:, COLOUR].T
    for values in (brightness, contrast, saturation):
        assert kstest(values, "uniform", (0.9, 0.2)).pvalue > 0.001
    assert kstest(hue, "uniform", (-0.05, 0.1)).pvalue > 0.001
    assert kstest(drawn[:, ANGLE], "uniform", (-15, 30)).pvalue > 0.001
    orders = np.bincount(drawn[:, ORDER].astype(int), minlength=24)
    assert len(orders) == 24
    assert chisquare(orders).pvalue > 0.001


@pytest.mark.parametrize("size", [(200, 150), (90, 90), (60, 200)])
def test_crops_are_drawn_as_torchvision_draws_them(size: tuple[int, int]) -> None:
    generator = np.random.default_rng(6)
    ours = np.array([draw_crop(generator, *size) for _ in range(4000)])
    torch.manual_seed(6)
    transform = v2.RandomResizedCrop(64, scale=(0.7, 1.0), ratio=(0.9, 1.1))
    blank = torch.zeros(3, size[1], size[0])
    found = [transform.make_params([blank]) for _ in range(4000)]
    theirs = np.array([[one[key] for key in ("left", "top", "width", "height")] for one in found])
    for column in range(4):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 0.001


def test_a_crop_is_pillows_but_for_rounding() -> None:
    image = draw_lesion(next(iter(KINDS)), 3)
    picture = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    found = crop(picture, (10, 5, 100, 90), 64)
    expected = np.asarray(image.resize((64, 64), resample=2, box=(10, 5, 110, 95)))
    difference = np.abs(found.permute(1, 2, 0).numpy().astype(int) - expected)
    assert difference.max() <= 2
    assert difference.mean() < 0.5


@pytest.mark.parametrize("size", [(200, 120), (90, 160), (130, 130), (160, 16)])
@pytest.mark.parametrize("fit", ["pad", "squash"])
def test_a_crop_of_a_square_that_is_never_made(fit: str, size: tuple[int, int]) -> None:
    """Against the square itself: padded, or squashed, and then cropped as the paper crops."""
    resize, longer = resize_of(fit), max(size)
    picture = torch.from_numpy(np.array(draw_lesion(next(iter(KINDS)), 3).resize(size))).permute(2, 0, 1)
    left, top = (longer - size[0]) // 2, (longer - size[1]) // 2
    edges = [left, top, longer - size[0] - left, longer - size[1] - top]
    border = torch.tensor(resize.border, dtype=torch.uint8).view(3, 1, 1)
    square = reference.pad(picture, edges, fill=list(resize.border))
    if fit == "squash":
        square = reference.resize(picture, [longer, longer], antialias=True)
    for seed in range(20):
        found, shown = draw_view(np.random.default_rng(seed), picture, 64, resize)
        expected = crop(square, draw_crop(np.random.default_rng(seed), longer, longer), 64)
        x0, y0, x1, y1 = ((np.array(shown) + 1) * 32).round().astype(int)
        inside = np.zeros((64, 64), bool)
        inside[y0:y1, x0:x1] = True
        assert (found == border).all(dim=0).numpy()[~inside].all()
        assert (shown == WHOLE) == (fit == "squash" or size[0] == size[1])
        # One resampling and not two, and edges that are whole pixels: 3 grey levels of 255 on average.
        assert (found.float() - expected.float()).abs().mean() < 3
        other, _ = draw_view(np.random.default_rng(seed), picture, 64, resize)
        assert torch.equal(found, other)


def test_the_paper_crops_as_it_did() -> None:
    picture = torch.from_numpy(np.array(draw_lesion(next(iter(KINDS)), 3))).permute(2, 0, 1)
    found, shown = draw_view(np.random.default_rng(4), picture, 64)
    box = draw_crop(np.random.default_rng(4), picture.shape[2], picture.shape[1])
    assert torch.equal(found, crop(picture, box, 64))
    assert shown == WHOLE


def test_augmentation_leaves_the_border_alone() -> None:
    """Whatever the colours and the angle become: the border, and what a rotation uncovers, is the mean."""
    resize = resize_of("pad")
    picture = torch.zeros(3, 90, 160, dtype=torch.uint8) + 200
    for ranges in AUGMENTATIONS.values():
        views, drawn = [], []
        for seed in range(12):
            generator = np.random.default_rng(seed)
            view, shown = draw_view(generator, picture, 64, resize, ranges)
            own = draw_parameters(generator, ranges)
            own[SHOWN] = shown
            views.append(view)
            drawn.append(own)
        images, table = torch.stack(views), torch.from_numpy(np.stack(drawn))
        found = augment(images, table, ranges.corners, resize.border)
        colour = torch.tensor(resize.border).view(3, 1, 1) / 255
        # Where the border goes, by the rotation of a mask. The corners are outside it.
        masks = torch.zeros(12, 1, 64, 64)
        for mask, (x0, y0, x1, y1) in zip(masks, table[:, SHOWN].add(1).mul(32).round().int(), strict=True):
            mask[:, y0:y1, x0:x1] = 1
        turned = rotate(masks, table)[:, 0] > 0
        hidden = (found == colour).all(dim=1)
        # A pixel whose centre is on the edge, to the last digit of its coordinate, may be either.
        assert (hidden == ~turned).float().mean() > 0.999
        assert 0.2 < hidden.float().mean() < 0.8


def test_normalisation_ends_it(images: torch.Tensor) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    expected = reference.normalize(images / 255, list(mean), list(std))
    assert torch.allclose(normalize(images, mean, std), expected, atol=1e-6)
    assert torch.allclose(normalize(images / 255, mean, std), expected, atol=1e-6)


def test_the_rotation_multiplies_no_matrices(images: torch.Tensor) -> None:
    # On a GPU, TF32 would round the coordinates of the pixels in a matrix product.
    expected = rotate(images / 255, parameters(len(images), angle=11.0))
    with torch.profiler.profile() as profile:
        found = rotate(images / 255, parameters(len(images), angle=11.0))
    assert torch.equal(found, expected)
    assert not [event.key for event in profile.key_averages() if "mm" in event.key.split("::")[-1]]


def test_mean_and_deviation_are_made_once(images: torch.Tensor) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    normalize(images, mean, std)
    with torch.profiler.profile() as profile:
        normalize(images, mean, std)
    assert not [event.key for event in profile.key_averages() if event.key == "aten::lift_fresh"]
