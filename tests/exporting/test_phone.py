"""Files for phones. Their packages are large, so these tests run where they are installed."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import CORE_ML_MODEL, ensure_writable_file
from skinlesion_cli.exporting import mlpackage, pte
from skinlesion_cli.exporting.verified import muted
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.inference.torch_backend import backend_of
from skinlesion_cli.metrics.calibration import softmax
from skinlesion_cli.models.checkpoint import Checkpoint, load_checkpoint
from skinlesion_cli.models.device import choose_runtime
from skinlesion_cli.models.ood import OodDetector
from tests.conftest import CLASSES

SIDE = 128
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, SIDE, SIDE), np.uint8)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """An untrained model with answers far from each other, and a detector: the distance is that from zero."""
    torch.manual_seed(0)
    model = timm.create_model("mobilevitv2_050", num_classes=3)
    with torch.no_grad():
        model.get_classifier().weight *= 50
    path = tmp_path_factory.mktemp("bare") / "bare.pth"
    torch.save(model.state_dict(), path)
    bare = load_checkpoint(path, arch="mobilevitv2_050", classes=CLASSES, img_size=SIDE)
    zero = np.zeros((model.num_features, 1), np.float32)
    detector = OodDetector(zero[:, 0], zero, noise=1.0)
    return dataclasses.replace(bare, novelty=detector, distance_limit=1.0, temperature=2.0)


def test_a_pte_agrees_with_torch_and_describes_itself(loaded: Checkpoint, tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    target = tmp_path / "m.pte"
    exported = pte.export(loaded, target, PIXELS)
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
    outputs = backend_of(loaded, choose_runtime("cpu", "fp32", training=False)).outputs(PIXELS[:1])
    assert outputs.distances is not None
    assert float(distance) == pytest.approx(outputs.distances[0], rel=1e-3)
    expected = softmax(outputs.logits, 2.0)
    assert softmax(logits.numpy()) == pytest.approx(expected, abs=1e-5)
    assert b"site-packages" not in target.read_bytes()
    with pytest.raises(InputError, match=r"only \.onnx runs here; use that, or the \.pth"):
        load_predictor(target)


def test_an_mlpackage_is_written_whole_and_not_verified(loaded: Checkpoint, tmp_path: Path) -> None:
    coremltools = pytest.importorskip("coremltools")
    target = tmp_path / "m.mlpackage"
    (target / "Data").mkdir(parents=True)
    with pytest.raises(InputError, match="which is not an earlier output"):
        ensure_writable_file(target, option="--to")
    for _ in range(2):
        exported = mlpackage.export(loaded, target, PIXELS)
        ensure_writable_file(target, option="--to")
        assert [path.name for path in tmp_path.iterdir()] == ["m.mlpackage"]
    assert (exported.largest_difference, exported.images) == (None, 0)
    assert sorted(path.name for path in target.iterdir()) == ["Data", "Manifest.json"]
    assert exported.size > 4_000_000
    description = coremltools.utils.load_spec(str(target)).description
    (taken,), (given,) = description.input, description.output
    image = taken.type.imageType
    assert (taken.name, image.width, image.height) == ("image", SIDE, SIDE)
    assert image.colorSpace == image.RGB
    assert (given.name, list(given.type.multiArrayType.shape)) == ("logits", [1, 3])
    assert json.loads(description.metadata.userDefined["classes"]) == list(CLASSES)
    assert b"site-packages" not in (target / CORE_ML_MODEL).read_bytes()
