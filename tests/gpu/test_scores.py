"""Scores and heat maps on a GPU are those of the CPU, within bounds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from skinlesion_cli.api.explain import explain
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.inference.scoring import predict_and_evaluate

pytestmark = pytest.mark.gpu

BOUNDS = {"auto": 1e-4, "fp32": 1e-4, "fp16": 0.01, "bf16": 0.05}
"""Largest difference of a probability from that of the CPU in fp32."""


@pytest.mark.parametrize("precision", BOUNDS)
def test_scores_are_those_of_the_cpu(device: str, precision: str, checkpoint: Path, data: Path) -> None:
    if device == "cpu" and precision == "fp16":
        pytest.skip("fp16 is not supported on the CPU")
    if device == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported(False):
        pytest.skip("this GPU does not support bfloat16")
    split = read_split(data, "test")
    expected, _, scores = predict_and_evaluate(load_predictor(checkpoint, device="cpu"), split)
    predictor = load_predictor(checkpoint, device=device, precision=precision)
    found, _, scores_there = predict_and_evaluate(predictor, split)
    assert np.abs(found.probabilities - expected.probabilities).max() < BOUNDS[precision]
    assert scores_there["weighted_loss"] == pytest.approx(scores["weighted_loss"], rel=5 * BOUNDS[precision])
    if BOUNDS[precision] == 1e-4:
        assert np.array_equal(found.predicted, expected.predicted)
        assert scores_there["weighted_f1"] == scores["weighted_f1"]


def test_distances_are_those_of_the_cpu(device: str, checkpoint: Path, data: Path) -> None:
    paths = read_split(data, "test").paths
    here, there = (
        [one.distance for one in load_predictor(checkpoint, device=name).predict_many(paths)]  # type: ignore[union-attr]
        for name in ("cpu", device)
    )
    assert there == pytest.approx(here, rel=1e-2)


def test_normalisation_is_folded_whatever_precision_the_program_has_set(
    device: str, checkpoint: Path, data: Path
) -> None:
    predictor = load_predictor(checkpoint, device=device)
    torch.set_float32_matmul_precision("high")
    try:
        list(predictor.predict_many(read_split(data, "test").paths))
    finally:
        torch.set_float32_matmul_precision("highest")
    faster = predictor.backend._faster  # type: ignore[attr-defined]
    assert not any(isinstance(one, torch.nn.BatchNorm2d) for one in faster.modules())


def test_heat_maps_are_those_of_the_cpu(device: str, checkpoint: Path, picture: Path) -> None:
    here, there = (
        explain(load_predictor(checkpoint, device=name), picture)[0].raw for name in ("cpu", device)
    )
    assert np.allclose(there, here, atol=1e-3 * np.abs(here).max())
