"""How many augmented copies `find_duplicates` finds, and how many of its pairs are false.

    python tests/benchmarks/near_duplicates.py FOLDER [--photos 300] [--even] [--copies 14] [--keep DIR]

Chooses photographs of FOLDER (one folder per class) at random, or with --even evenly from the classes; makes
copies of each by two random operations; assigns all of them at random to train, val and test; and compares
the families that are found with the true ones.
"""

import argparse
import io
import itertools
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from skinlesion_cli.curation.duplicates import find_duplicates
from skinlesion_cli.curation.families import connected_components
from skinlesion_cli.data.images import read_image
from skinlesion_cli.data.suffixes import has_image_suffix

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
OPERATIONS = ("resize", "jpeg", "crop", "mirror", "rotate", "shear", "shift", "colour", "blur", "noise")


def _crop(image: Image.Image, area: float, random: np.random.Generator) -> Image.Image:
    ratio = float(np.exp(random.uniform(-0.1, 0.1)))
    width = min(image.width, round(image.width * (area * ratio) ** 0.5))
    height = min(image.height, round(image.height * (area / ratio) ** 0.5))
    left = int(random.integers(0, image.width - width + 1))
    top = int(random.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _rotate(image: Image.Image, angle: float, fill: str) -> Image.Image:
    if fill in ("black", "white"):
        return image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=fill)
    pad = max(image.size) // 2
    pixels = np.pad(
        np.asarray(image),
        ((pad, pad), (pad, pad), (0, 0)),
        mode="reflect" if pad < min(image.size) else "symmetric",
    )
    turned = Image.fromarray(pixels).rotate(angle, Image.Resampling.BICUBIC)
    width, height = image.size
    if fill == "crop":
        cos, sin = abs(np.cos(np.radians(angle))), abs(np.sin(np.radians(angle)))
        # The largest upright rectangle of the same aspect ratio inside the rotated picture.
        shrink = min(width / (width * cos + height * sin), height / (width * sin + height * cos))
        width, height = int(width * shrink), int(height * shrink)
    left, top = (turned.width - width) // 2, (turned.height - height) // 2
    return turned.crop((left, top, left + width, top + height))


def operate(image: Image.Image, name: str, random: np.random.Generator) -> Image.Image:
    """One of `OPERATIONS` with random strength."""
    if name == "resize":
        scale = float(np.exp(random.uniform(np.log(0.6), np.log(1.8))))
        size = (round(image.width * scale), round(image.height * scale))
        return image.resize(size, Image.Resampling.BICUBIC)
    if name == "jpeg":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(random.integers(30, 90)))
        return Image.open(buffer).convert("RGB")
    if name == "crop":
        return _crop(image, float(random.uniform(0.7, 0.95)), random)
    if name == "mirror":
        return ImageOps.mirror(image) if random.random() < 0.5 else ImageOps.flip(image)
    if name == "rotate":
        fill = ("black", "white", "reflect", "crop")[int(random.integers(4))]
        return _rotate(image, float(random.uniform(0, 360)), fill)
    if name in ("shear", "shift"):
        shear = random.uniform(-0.15, 0.15, 2) if name == "shear" else np.zeros(2)
        dx, dy = random.uniform(-0.1, 0.1, 2) * image.size
        middle = np.array(image.size) / 2
        matrix = np.array([[1, shear[0]], [shear[1], 1]])
        offset = middle - matrix @ middle + (np.array([dx, dy]) if name == "shift" else 0)
        data = (*matrix[0], offset[0], *matrix[1], offset[1])
        return image.transform(image.size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)
    if name == "colour":
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = enhance(image).enhance(float(random.uniform(0.75, 1.25)))
        hsv = np.asarray(image.convert("HSV")).copy()
        hsv[..., 0] += np.uint8(random.integers(-12, 13) % 256)
        return Image.fromarray(hsv, "HSV").convert("RGB")
    if name == "blur":
        return image.filter(ImageFilter.GaussianBlur(float(random.uniform(0.5, 1.5))))
    pixels = np.asarray(image) + random.normal(0, random.uniform(3, 12), (image.height, image.width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def make_copies(
    photos: list[Path], copies: int, out: Path, seed: int
) -> tuple[list[Path], list[int], list[str]]:
    """Write each photograph and its copies; returns the files, their originals and their operations."""
    files, origin, done = [], [], []
    for number, photo in enumerate(photos):
        image = read_image(photo)
        if max(image.size) > 640:
            image.thumbnail((640, 640), Image.Resampling.LANCZOS)
        for copy in range(copies + 1):
            random = np.random.default_rng((seed, number, copy))
            names = list(random.choice(OPERATIONS, 2, replace=False)) if copy else []
            picture = image
            for name in names:
                picture = operate(picture, name, random)
            path = out / f"{number:04}_{copy:02}.jpg"
            picture.save(path, quality=90)
            files.append(path)
            origin.append(number)
            done.append("+".join(sorted(names)) or "original")
    return files, origin, done


def choose(folder: Path, count: int, seed: int, even: bool) -> list[Path]:
    """Choose photographs at random, or from the classes in turn."""
    random = np.random.default_rng(seed)
    if not even:
        paths = sorted(path for path in folder.rglob("*") if has_image_suffix(path))
        return [paths[i] for i in random.permutation(len(paths))[:count]]
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    classes = [sorted(path for path in one.iterdir() if has_image_suffix(path)) for one in folders]
    shuffled = [[names[i] for i in random.permutation(len(names))] for names in classes]
    turns = itertools.zip_longest(*shuffled)
    return [p for p in itertools.chain.from_iterable(turns) if p is not None][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--even", action="store_true", help="take them from the classes in turn")
    parser.add_argument("--copies", type=int, default=14)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the copies and pairs.json")
    options = parser.parse_args()
    photos = choose(options.folder, options.photos, options.seed, options.even)
    with tempfile.TemporaryDirectory() as scratch:
        out = options.keep or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        files, origin, done = make_copies(photos, options.copies, out, options.seed)
        random = np.random.default_rng(options.seed)
        split = random.choice(list(SHARES), len(files), p=list(SHARES.values()))
        start = time.perf_counter()
        pairs = find_duplicates(files, near=True, workers=options.workers)
        seconds = time.perf_counter() - start
        found = connected_components(len(files), [(pair.a, pair.b) for pair in pairs])
        family = {i: number for number, members in enumerate(found) for i in members}

        siblings = [
            (a, b)
            for n in range(len(photos))
            for a, b in itertools.combinations(
                range(n * (options.copies + 1), (n + 1) * (options.copies + 1)), 2
            )
            if split[a] != split[b]
        ]
        kept = sum(a in family and family[a] == family.get(b) for a, b in siblings)
        reported = [
            (a, b) for members in found for a, b in itertools.combinations(members, 2) if split[a] != split[b]
        ]
        true = sum(origin[a] == origin[b] for a, b in reported)
        false_pairs = [(a, b) for a, b in ((p.a, p.b) for p in pairs) if origin[a] != origin[b]]
        alone = Counter(done[i] for i in range(len(files)) if i not in family)
        per_operation = Counter(name for both in alone.elements() for name in both.split("+"))
        print(
            json.dumps(
                {
                    "photos": len(photos),
                    "files": len(files),
                    "seconds": round(seconds, 1),
                    "true_cross_split_pairs": len(siblings),
                    "recall": round(kept / max(len(siblings), 1), 4),
                    "reported_cross_split_pairs": len(reported),
                    "precision": round(true / max(len(reported), 1), 4),
                    "pairs": dict(Counter(p.kind for p in pairs)),
                    "false_pairs": len(false_pairs),
                    "alone": sum(alone.values()),
                    "alone_by_operation": dict(per_operation.most_common()),
                },
                indent=1,
            )
        )
        if options.keep:
            text = json.dumps(
                {
                    "photos": [str(p) for p in photos],
                    "false": [
                        (files[a].name, files[b].name, str(photos[origin[a]]), str(photos[origin[b]]))
                        for a, b in false_pairs
                    ],
                    "alone": [(files[i].name, done[i]) for i in range(len(files)) if i not in family],
                },
                indent=1,
            )
            (options.keep / "pairs.json").write_text(text)


if __name__ == "__main__":
    main()
