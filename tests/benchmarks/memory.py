"""Whether memory use and open files stay constant over epochs, predicted images and heat maps.

    python tests/benchmarks/memory.py [--epochs 30] [--images 4000] [--maps 1000]

All images are synthetic. Linux only: it reads /proc.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from pipelines import draw_images

from skinlesion_cli.common.events import EpochDone, Event
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.data.eval_views import viewed_batches
from skinlesion_cli.data.screening import Screening
from skinlesion_cli.data.splits import read_split, read_splits
from skinlesion_cli.exporting.onnx import export
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.models.checkpoint import load_checkpoint
from skinlesion_cli.report.heatmaps.files import TILES
from skinlesion_cli.report.heatmaps.sheet import Sheets
from skinlesion_cli.saliency.explanation import explain_classes
from skinlesion_cli.training.run_folder import RunFolder
from skinlesion_cli.training.trainer import Trainer
from tests.support.processes import resident_mb


def open_files() -> int:
    """File descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def main() -> None:
    """Train, predict and explain, and print the memory use at several points."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--maps", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data, root = Path(scratch, "data"), Path(scratch, "run")
        draw_images(data, 64, 50)

        def show(event: Event) -> None:
            if isinstance(event, EpochDone) and event.record.epoch in (
                1,
                2,
                options.epochs // 2,
                options.epochs,
            ):
                print(f"epoch {event.record.epoch}: {resident_mb():.0f} MB, {open_files()} files", flush=True)

        settings = Settings(
            model_arch="mobilevitv2_050",
            img_size=64,
            pretrained=False,
            batch_size=16,
            epochs=options.epochs,
            patience=0,
            num_workers=2,
        )
        folder = RunFolder(root)
        folder.claim(resume=False, overwrite=False)
        Trainer(settings, Screening(read_splits(data, ["train", "val"]), {}, []), folder, on_event=show).run()

        onnx = Path(scratch, "model.onnx")
        paths = read_split(data, "test").paths
        pixels = next(viewed_batches(paths, img_size=64, batch_size=4, workers=0)).images
        export(load_checkpoint(folder.best), onnx, pixels)
        for file in (folder.best, onnx):
            predictor = load_predictor(file)
            many = (paths * (options.images // len(paths) + 1))[: options.images]
            for number, _ in enumerate(predictor.predict_many(many), start=1):
                if number in (200, 1000, options.images):
                    print(f"{file.suffix}, {number} images: {resident_mb():.0f} MB, {open_files()} files")
        explain_many(folder.best, paths, options.maps, Path(scratch))


def explain_many(checkpoint: Path, paths: Sequence[Path], maps: int, scratch: Path) -> None:
    """Explain photographs and draw contact sheets of their maps, as `gradcam` does."""
    predictor = load_predictor(checkpoint)
    sheets = Sheets([scratch / f"sheet-{number}.png" for number in range(maps // TILES + 1)], alpha=0.5)
    for number in range(1, maps + 1):
        path = paths[number % len(paths)]
        sheets.add(path.name, explain_classes(predictor, path))
        if number in (100, maps // 2, maps):
            print(f"maps, {number} images: {resident_mb():.0f} MB, {open_files()} files", flush=True)


if __name__ == "__main__":
    main()
