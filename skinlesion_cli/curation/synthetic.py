"""A small synthetic data set for trying the tool without data: JPEG drawings of fourteen kinds of lesions.

The drawings have no diagnostic meaning. Each class is a pattern that a small network learns in seconds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from skinlesion_cli.data.splits import SPLITS

SCALE = 2
"""Drawings are made larger by this factor and shrunk, which smooths their edges."""


@dataclass
class Sketch:
    """A patch of skin to draw on. Lengths are in pixels of the large drawing."""

    image: Image.Image
    random: np.random.Generator
    centre: tuple[float, float]
    radius: float

    @property
    def pen(self) -> ImageDraw.ImageDraw:
        """For opaque shapes."""
        return ImageDraw.Draw(self.image)

    def blend(self, mask: Image.Image, colour: tuple[int, int, int], blur: float, opacity: float) -> None:
        """Blend a colour into the image where the mask (L) is bright."""
        soft = mask.filter(ImageFilter.GaussianBlur(blur)).point(lambda value: value * opacity)
        self.image.paste(Image.new("RGB", self.image.size, colour), (0, 0), soft)

    def blob(self, radius: float, wobble: float, centre: tuple[float, float] | None = None) -> Image.Image:
        """The mask of a round shape with an irregular border."""
        angles = np.linspace(0, 2 * math.pi, 72, endpoint=False)
        phases = self.random.uniform(0, 2 * math.pi, 4)
        waves = sum(np.sin((k + 2) * angles + phase) / (k + 1) for k, phase in enumerate(phases))
        radii = radius * (1 + wobble * waves / 2)
        x, y = centre or self.centre
        mask = Image.new("L", self.image.size)
        points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)
        ImageDraw.Draw(mask).polygon([tuple(point) for point in points.tolist()], fill=255)
        return mask

    def scatter(self, count: int, spread: float) -> list[tuple[float, float]]:
        """Random points within `spread` radii of the centre."""
        angles = self.random.uniform(0, 2 * math.pi, count)
        lengths = self.radius * spread * np.sqrt(self.random.uniform(0, 1, count))
        x, y = self.centre
        return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(lengths, angles, strict=True)]

    def disc(self, at: tuple[float, float], radius: float, colour: tuple[int, int, int]) -> None:
        """An opaque disc."""
        x, y = at
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _plain(sketch: Sketch) -> None:
    for _ in range(int(sketch.random.integers(3, 8))):
        x, y = sketch.random.uniform(0, sketch.image.width), sketch.random.uniform(0, sketch.image.height)
        dx, dy = sketch.random.normal(0, sketch.radius, 2)
        sketch.pen.line((x, y, x + dx, y + dy), fill=(92, 66, 52), width=2)


def _blotch(sketch: Sketch) -> None:
    sketch.blend(sketch.blob(sketch.radius, 0.12), (122, 74, 46), 5, 0.9)


def _two_tone(sketch: Sketch) -> None:
    sketch.blend(sketch.blob(sketch.radius, 0.4), (120, 70, 50), 3, 0.9)
    x, y = sketch.centre
    half = (x + sketch.radius * 0.35, y + sketch.radius * 0.2)
    sketch.blend(sketch.blob(sketch.radius * 0.6, 0.4, half), (28, 20, 24), 3, 0.95)


def _ring(sketch: Sketch) -> None:
    sketch.blend(sketch.blob(sketch.radius, 0.08), (188, 62, 58), 3, 0.85)
    sketch.blend(sketch.blob(sketch.radius * 0.68, 0.08), (228, 176, 152), 4, 0.95)


def _dots(sketch: Sketch) -> None:
    for at in sketch.scatter(45, 1.3):
        sketch.disc(at, sketch.random.uniform(2, 5), (84, 48, 34))


def _pustules(sketch: Sketch) -> None:
    for at in sketch.scatter(8, 1.5):
        size = sketch.random.uniform(0.16, 0.26) * sketch.radius
        sketch.disc(at, size * 1.5, (196, 84, 78))
        sketch.disc(at, size * 0.8, (243, 229, 190))


def _streaks(sketch: Sketch) -> None:
    x, y = sketch.centre
    for angle in sketch.random.uniform(0, 2 * math.pi, 26):
        length = sketch.radius * sketch.random.uniform(1.0, 1.6)
        end = (x + length * math.cos(angle), y + length * math.sin(angle))
        sketch.pen.line((x, y, *end), fill=(66, 42, 40), width=4)
    sketch.blend(sketch.blob(sketch.radius * 0.6, 0.1), (52, 34, 34), 3, 1.0)


def _network(sketch: Sketch) -> None:
    blob = sketch.blob(sketch.radius * 1.1, 0.15)
    sketch.blend(blob, (176, 122, 84), 4, 0.9)
    width, height = sketch.image.size
    lines = Image.new("L", (width, height))
    pen = ImageDraw.Draw(lines)
    for offset in range(-width, 2 * width, max(8, int(sketch.radius * 0.3))):
        pen.line((offset, 0, offset + height, height), fill=255, width=4)
        pen.line((offset, height, offset + height, 0), fill=255, width=4)
    sketch.blend(ImageChops.darker(lines, blob), (74, 44, 30), 1, 1.0)


def _flush(sketch: Sketch) -> None:
    for at in sketch.scatter(5, 1.2):
        sketch.blend(sketch.blob(sketch.radius * 0.9, 0.3, at), (214, 78, 74), 14, 0.7)


def _scales(sketch: Sketch) -> None:
    sketch.blend(sketch.blob(sketch.radius * 1.1, 0.25), (206, 116, 108), 4, 0.9)
    for x, y in sketch.scatter(40, 1.0):
        dx = sketch.random.uniform(5, 13)
        sketch.pen.line((x, y, x + dx, y + sketch.random.normal(0, 3)), fill=(250, 244, 236), width=4)


def _vessels(sketch: Sketch) -> None:
    step = sketch.radius * 0.22
    for angle in sketch.random.uniform(0, 2 * math.pi, 9):
        at = sketch.centre
        for _ in range(9):
            angle += float(sketch.random.normal(0, 0.5))
            end = (at[0] + step * math.cos(angle), at[1] + step * math.sin(angle))
            sketch.pen.line((*at, *end), fill=(176, 18, 40), width=4)
            at = end


def _blue_nodule(sketch: Sketch) -> None:
    sketch.blend(sketch.blob(sketch.radius * 0.8, 0.04), (62, 78, 128), 3, 0.95)
    x, y = sketch.centre
    shine = (x - sketch.radius * 0.25, y - sketch.radius * 0.3)
    sketch.blend(sketch.blob(sketch.radius * 0.2, 0.05, shine), (214, 224, 244), 5, 0.9)


def _crust(sketch: Sketch) -> None:
    sketch.blend(sketch.blob(sketch.radius, 0.5), (206, 158, 52), 1, 0.95)
    for at in sketch.scatter(26, 0.8):
        sketch.disc(at, sketch.random.uniform(3, 7), (148, 98, 28))


def _bubbles(sketch: Sketch) -> None:
    for x, y in sketch.scatter(16, 1.2):
        r = sketch.random.uniform(7, 15)
        sketch.pen.ellipse((x - r, y - r, x + r, y + r), fill=(232, 200, 190), outline=(150, 90, 86), width=2)
        sketch.disc((x - r * 0.3, y - r * 0.3), r * 0.25, (255, 255, 255))


@dataclass(frozen=True)
class Kind:
    """One class: how it is drawn, and its number of images per split."""

    draw: Callable[[Sketch], None]
    train: int
    val: int
    test: int


# Imbalanced, like real skin-lesion data: 10 to 1 in training.
KINDS: dict[str, Kind] = {
    "synthetic blotch": Kind(_blotch, 60, 8, 10),
    "synthetic two-tone": Kind(_two_tone, 40, 6, 8),
    "synthetic pustules": Kind(_pustules, 36, 6, 7),
    "synthetic network": Kind(_network, 30, 5, 6),
    "synthetic scales": Kind(_scales, 26, 5, 6),
    "synthetic dots": Kind(_dots, 24, 4, 5),
    "synthetic plain skin": Kind(_plain, 20, 4, 5),
    "synthetic ring": Kind(_ring, 18, 4, 5),
    "synthetic bubbles": Kind(_bubbles, 15, 4, 4),
    "synthetic crust": Kind(_crust, 13, 4, 4),
    "synthetic flush": Kind(_flush, 12, 4, 4),
    "synthetic streaks": Kind(_streaks, 10, 4, 4),
    "synthetic vessels": Kind(_vessels, 8, 4, 4),
    "synthetic blue nodule": Kind(_blue_nodule, 6, 4, 4),
}


def draw_lesion(kind: str, seed: int) -> Image.Image:
    """Draw one image of a class in `KINDS`; the same seed draws the same image."""
    random = np.random.default_rng((seed, list(KINDS).index(kind)))
    width, height = int(random.integers(150, 230)), int(random.integers(130, 180))
    large = (width * SCALE, height * SCALE)
    radius = float(random.uniform(0.2, 0.3)) * min(large)
    x, y = (float(random.uniform(0.42, 0.58)) * side for side in large)
    sketch = Sketch(_skin(large, random), random, (x, y), radius)
    KINDS[kind].draw(sketch)
    return sketch.image.resize((width, height), Image.Resampling.LANCZOS)


def _skin(size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    tone = np.array([random.uniform(196, 232), random.uniform(150, 186), random.uniform(124, 160)])
    width, height = size
    # Light from one side, with fine and coarse noise, looks like skin rather than paper.
    across, down = np.linspace(-1, 1, width)[None, :], np.linspace(-1, 1, height)[:, None]
    slope = across * random.normal(0, 9) + down * random.normal(0, 9)
    coarse = Image.fromarray(random.normal(128, 40, (12, 16)).clip(0, 255).astype(np.uint8))
    mottle = (np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.float64) - 128) * 0.12
    grain = random.normal(0, 4, (height, width))
    pixels = tone + (slope + mottle + grain)[:, :, None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_data_set(folder: Path, seed: int = 0) -> int:
    """Draw the data set as `folder/{train,val,test}/CLASS/NNN.jpg`, and return the number of images."""
    written = 0
    for name, kind in KINDS.items():
        for split in SPLITS:
            target = folder / split / name
            target.mkdir(parents=True)
            for number in range(getattr(kind, split)):
                # Each image has its own seed, so that no two splits share one.
                draw_lesion(name, seed * 1_000_000 + written).save(target / f"{number:03}.jpg", quality=90)
                written += 1
    return written
