"""Files for phones. Their packages are large, so these tests run where they are installed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import CORE_ML_MODEL, ensure_writable_file
from skinlesion_cli.exporting import mlpackage, pte
from skinlesion_cli.exporting.verified import muted
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.checkpoint import load_checkpoint
from tests.conftest import CLASSES

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), np.uint8)


def test_a_pte_answers_like_torch_and_explains_itself(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    target = tmp_path / "m.pte"
    exported = pte.export(load_checkpoint(checkpoint), target, PIXELS)
    assert exported.size == target.stat().st_size
    assert exported.images == 3
    assert exported.largest_difference is not None
    assert exported.largest_difference < 1e-5
    # Its own earlier file may be replaced.
    ensure_writable_file(target, option="--to")
    with muted():
        from executorch.runtime import Runtime

        program = Runtime.get().load_program(target)
        (text,) = program.load_method(pte.METADATA).execute([])
        logits, distance = program.load_method("forward").execute([torch.from_numpy(PIXELS[:1])])
    assert json.loads(text)["classes"] == list(CLASSES)
    predictor = load_predictor(checkpoint)
    outputs = predictor.backend.outputs(PIXELS[:1])
    assert outputs.distances is not None
    assert float(distance) == pytest.approx(outputs.distances[0], rel=1e-3)
    expected = softmax(outputs.logits, predictor.temperature)
    assert softmax(logits.numpy()) == pytest.approx(expected, abs=1e-5)
    assert b"site-packages" not in target.read_bytes()
    with pytest.raises(InputError, match=r"only an \.onnx runs here; use that, or the \.pth"):
        load_predictor(target)


def test_an_mlpackage_is_written_whole_and_says_that_it_was_not_run(checkpoint: Path, tmp_path: Path) -> None:
    coremltools = pytest.importorskip("coremltools")
    target, loaded = tmp_path / "m.mlpackage", load_checkpoint(checkpoint)
    (target / "Data").mkdir(parents=True)
    with pytest.raises(InputError, match="which is no earlier output"):
        ensure_writable_file(target, option="--to")
    for _ in range(2):
        exported = mlpackage.export(loaded, target, PIXELS)
        ensure_writable_file(target, option="--to")
        assert [path.name for path in tmp_path.iterdir()] == ["m.mlpackage"]
    assert (exported.largest_difference, exported.images) == (None, 0)
    assert sorted(path.name for path in target.iterdir()) == ["Data", "Manifest.json"]
    assert exported.size > 1_000_000
    description = coremltools.utils.load_spec(str(target)).description
    (taken,), (given,) = description.input, description.output
    image = taken.type.imageType
    assert (taken.name, image.width, image.height) == ("image", 64, 64)
    assert image.colorSpace == image.RGB
    assert (given.name, list(given.type.multiArrayType.shape)) == ("logits", [1, 3])
    assert json.loads(description.metadata.userDefined["classes"]) == list(CLASSES)
    assert b"site-packages" not in (target / CORE_ML_MODEL).read_bytes()
