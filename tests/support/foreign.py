"""Pictures that are no photographs of skin, of six kinds: drawn, and cut from photographs in a folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

KINDS = (
    "noise and flat",
    "screens and documents",
    "drawn objects",
    "textures",
    "organs and walls",
    "photographs",
)
SIDE = 256
# Files that old releases of scikit-image carry in skimage/data, by kind.
PHOTOGRAPHS = {
    "screens and documents": ("page.png", "text.png"),
    "textures": ("brick.png", "grass.png", "gravel.png"),
    "organs and walls": ("ihc.png", "retina.jpg", "cell.png"),
    "photographs": (
        *("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "hubble_deep_field.jpg"),
        *("moon.png", "motorcycle_left.png", "rocket.jpg"),
    ),
}
WORDS = ("patient", "report", "image", "of", "the", "skin", "with", "a", "table", "and", "some", "text")
Random = np.random.Generator


def _colour(random: Random) -> tuple[int, int, int]:
    return tuple(int(value) for value in random.integers(0, 256, 3))  # type: ignore[return-value]


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _smooth(random: Random, sigma: float, channels: int = 1) -> np.ndarray:
    """Smooth noise of mean 0 and variance 1, (SIDE, SIDE, channels)."""
    field = ndimage.gaussian_filter(
        random.normal(size=(SIDE, SIDE, channels)), (sigma, sigma, 0), mode="wrap"
    )
    return (field - field.mean()) / field.std()


def noise_or_flat(random: Random, number: int) -> Image.Image:
    """Black, white, one colour, two halves, a gradient, a chequerboard, or noise of three kinds."""
    if number < 3:
        return Image.new("RGB", (SIDE, SIDE), ("black", "white", "grey")[number])
    first, second = np.array(_colour(random)), np.array(_colour(random))
    y, x = (one[..., None] for one in np.mgrid[:SIDE, :SIDE])
    kind = number % 8
    if kind == 0:
        return Image.new("RGB", (SIDE, SIDE), _colour(random))
    if kind == 1:
        return _picture(first + (second - first) * x / SIDE)
    if kind == 2:
        cell = int(random.integers(4, 64))
        return _picture(np.where((x // cell + y // cell) % 2, first, second))
    if kind == 3:
        return _picture(random.integers(0, 256, (SIDE, SIDE, 3)))
    if kind == 4:
        return _picture(np.repeat(random.integers(0, 256, (SIDE, SIDE, 1)), 3, axis=2))
    if kind == 5:
        return _picture(128 + random.uniform(20, 80) * random.normal(size=(SIDE, SIDE, 3)))
    if kind == 6:
        salt = random.random((SIDE, SIDE, 1)) < random.uniform(0.02, 0.5)
        return _picture(np.where(salt, random.integers(0, 2, (SIDE, SIDE, 1)) * 255, first))
    return _picture(128 + 60 * _smooth(random, random.uniform(1, 20), 3))


def screen(random: Random, number: int) -> Image.Image:
    """A page of text, a terminal, a window with buttons, or a chart."""
    kind = number % 4
    dark = random.random() < 0.5 if kind == 1 else kind == 2 and random.random() < 0.3
    paper, ink = ((20, 22, 30), (210, 220, 210)) if dark else ((255, 255, 255), (20, 20, 20))
    width, height = int(random.integers(500, 1000)), int(random.integers(500, 1000))
    image = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(image)
    size = int(random.integers(14, 34))
    font = ImageFont.load_default(size)

    def lines(left: int, top: int, right: int, bottom: int) -> None:
        for y in range(top, bottom - size, round(size * 1.5)):
            text = " ".join(random.choice(WORDS, 20))
            while (
                draw.textlength(text, font) > max(right - left, 40) * random.uniform(0.6, 1) and " " in text
            ):
                text = text.rsplit(" ", 1)[0]
            draw.text((left, y), text, ink, font)

    if kind in (0, 1):
        lines(30, 30, width - 30, height - 20)
    elif kind == 2:
        draw.rectangle((0, 0, width, 50), _colour(random))
        draw.rectangle(
            (0, 50, width // 4, height), tuple(value - 15 if value > 15 else value + 15 for value in paper)
        )
        lines(20, 70, width // 4 - 10, height // 2)
        lines(width // 4 + 30, 80, width - 30, height * 2 // 3)
        for index in range(3):
            left, top = width // 4 + 30 + index * 130, height * 3 // 4
            draw.rounded_rectangle((left, top, left + 110, top + 50), 8, _colour(random))
    else:
        for index in range(int(random.integers(4, 12))):
            left, top = 60 + index * 70, height - 60 - int(random.integers(40, height - 150))
            draw.rectangle((left, top, left + 50, height - 60), _colour(random))
        draw.line((50, 30, 50, height - 60, width - 20, height - 60), ink, 3)
        draw.text((60, 20), " ".join(random.choice(WORDS, 5)), ink, font)
    return image


def drawn_object(random: Random, number: int) -> Image.Image:
    """A house, a car, a face, a tree, a star or a jumble of shapes, on one colour or a sky."""
    image = Image.new("RGB", (SIDE, SIDE), _colour(random))
    draw = ImageDraw.Draw(image)
    c = [_colour(random) for _ in range(8)]
    dx, dy = int(random.integers(-25, 25)), int(random.integers(-25, 25))

    def box(left: int, top: int, right: int, bottom: int) -> tuple[int, int, int, int]:
        return left + dx, top + dy, right + dx, bottom + dy

    kind = number % 6
    if random.random() < 0.5:
        draw.rectangle((0, 190, SIDE, SIDE), c[7])
    if kind == 0:
        draw.rectangle(box(70, 110, 190, 210), c[0], "black", 3)
        draw.polygon([(55 + dx, 110 + dy), (130 + dx, 45 + dy), (205 + dx, 110 + dy)], c[1], "black")
        draw.rectangle(box(115, 150, 145, 210), c[2])
        draw.rectangle(box(80, 125, 105, 150), c[3], "black", 2)
    elif kind == 1:
        draw.rounded_rectangle(box(40, 120, 220, 180), 15, c[0], "black", 3)
        draw.polygon(
            [(75 + dx, 120 + dy), (100 + dx, 80 + dy), (165 + dx, 80 + dy), (190 + dx, 120 + dy)], c[1]
        )
        for left in (65, 160):
            draw.ellipse(box(left, 160, left + 40, 200), "black")
            draw.ellipse(box(left + 12, 172, left + 28, 188), "white")
    elif kind == 2:
        draw.ellipse(box(50, 50, 210, 210), c[0], "black", 4)
        for left in (95, 145):
            draw.ellipse(box(left, 100, left + 20, 125), "black")
        draw.arc(box(90, 110, 170, 180), 20, 160, "black", 5)
    elif kind == 3:
        draw.rectangle(box(118, 130, 142, 220), (110, 70, 30))
        for x, y in ((70, 60), (110, 30), (140, 70), (90, 90)):
            draw.ellipse(box(x, y, x + 70, y + 70), (30, int(random.integers(90, 200)), 40))
    elif kind == 4:
        radii = [95, random.uniform(30, 60)] * 5
        angles = np.arange(10) * np.pi / 5 + random.uniform(0, 6)
        draw.polygon(
            [
                (128 + dx + r * np.cos(a), 128 + dy + r * np.sin(a))
                for r, a in zip(radii, angles, strict=True)
            ],
            c[0],
            "black",
        )
    else:
        for index in range(7):
            x, y = (int(value) for value in random.integers(10, 180, 2))
            w, h = (int(value) for value in random.integers(20, 90, 2))
            (draw.ellipse if index % 2 else draw.rectangle)((x, y, x + w, y + h), c[index], "black", 2)
    return image


def texture(random: Random, number: int) -> Image.Image:
    """Wood, cloth, tiles, stripes, marble or pebbles."""
    first, second = (np.array(_colour(random)) for _ in range(2))
    y, x = (one[..., None] / SIDE for one in np.mgrid[:SIDE, :SIDE])
    kind, frequency = number % 6, random.uniform(6, 30)
    if kind == 0:
        mixed = (
            np.sin(2 * np.pi * frequency * (x + 0.05 * _smooth(random, 30)) + _smooth(random, 8)) + 1
        ) / 2
    elif kind == 1:
        mixed = (np.sin(2 * np.pi * frequency * x) * np.sin(2 * np.pi * frequency * y) + 1) / 2
    elif kind == 2:
        row = np.floor(y * frequency)
        joint = ((y * frequency) % 1 < 0.12) | ((x * frequency / 2 + row / 2) % 1 < 0.06)
        mixed = np.where(
            joint,
            1.0,
            0.25
            * (
                _smooth(random, 2) * 0.2
                + np.sin(row * 12.9 + np.floor(x * frequency / 2 + row / 2) * 78.2)
                + 1
            ),
        )
    elif kind == 3:
        angle = random.uniform(0, np.pi)
        mixed = ((np.cos(angle) * x + np.sin(angle) * y) * frequency % 1 < 0.5) * 1.0
    elif kind == 4:
        mixed = np.abs(np.sin(2 * np.pi * (2 * x + 0.4 * _smooth(random, 12) + 0.1 * _smooth(random, 3))))
    else:
        mixed = (_smooth(random, random.uniform(3, 8)) > 0) * 0.7 + 0.3 * (_smooth(random, 1) * 0.2 + 0.5)
    return _picture(first + (second - first) * mixed + 6 * random.normal(size=(SIDE, SIDE, 1)))


def wall(random: Random, _: int) -> Image.Image:
    """A plain wall in the colour of skin: a light from one side, plaster, sometimes an edge or a shadow."""
    base = np.array(
        [(236, 200, 178), (214, 168, 140), (180, 128, 98), (120, 78, 55), (226, 190, 160)][
            int(random.integers(5))
        ]
    )
    y, x = (one[..., None] / SIDE for one in np.mgrid[:SIDE, :SIDE])
    angle = random.uniform(0, 2 * np.pi)
    light = 1 + random.uniform(0, 0.25) * (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5))
    plaster = random.uniform(0, 5) * _smooth(random, random.uniform(0.7, 2)) + random.uniform(0, 3) * _smooth(
        random, 15
    )
    pixels = base * light + plaster + random.uniform(0.5, 3) * random.normal(size=(SIDE, SIDE, 3))
    if random.random() < 0.3:
        pixels = pixels * np.where(x > random.uniform(0.2, 0.8), random.uniform(0.7, 0.95), 1)
    return _picture(pixels)


DRAWN: dict[str, Callable[[Random, int], Image.Image]] = {
    "noise and flat": noise_or_flat,
    "screens and documents": screen,
    "drawn objects": drawn_object,
    "textures": texture,
    "organs and walls": wall,
}


def cut(image: Image.Image, random: Random) -> Image.Image:
    """A random square of 0.5 to 1 of the shorter side."""
    side = round(min(image.size) * random.uniform(0.5, 1))
    left, top = (int(random.integers(0, size - side + 1)) for size in image.size)
    piece = image.crop((left, top, left + side, top + side))
    return piece.filter(ImageFilter.GaussianBlur(0.5)) if random.random() < 0.3 else piece


def foreign_pictures(number: int, folder: Path | None = None, seed: int = 0) -> dict[str, list[Image.Image]]:
    """`number` pictures of each of `KINDS`; half are cut from the photographs in `folder`, if it has any."""
    made: dict[str, list[Image.Image]] = {}
    for at, kind in enumerate(KINDS):
        random = np.random.default_rng((seed, at))
        files = [folder / name for name in PHOTOGRAPHS.get(kind, ()) if folder and (folder / name).is_file()]
        opened = [Image.open(file).convert("RGB") for file in files]
        draw = DRAWN.get(kind)
        cuts = 0 if not opened else number if draw is None else number // 2
        made[kind] = [cut(opened[index % len(opened)], random) for index in range(cuts)]
        if draw is not None:
            made[kind] += [draw(random, index) for index in range(number - cuts)]
    return {kind: pictures for kind, pictures in made.items() if pictures}
