"""Photographs that share features become candidates, whatever the sizes of blocks and cells."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from skinlesion_cli.common.events import Event, ImagesDone
from skinlesion_cli.curation import matching
from skinlesion_cli.curation.fingerprint import Fingerprint, fingerprint, mirrored, strongest
from skinlesion_cli.curation.matching import Basis, Candidate, FeatureIndex


@pytest.fixture(scope="module")
def prints(tmp_path_factory: pytest.TempPathFactory) -> list[Fingerprint]:
    """Of twelve textures, and after each of the first six, of its mirror image."""
    folder, found = tmp_path_factory.mktemp("textures"), []
    for number in range(12):
        random = np.random.default_rng(number)
        image = Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8))
        image = image.resize((256, 192), Image.Resampling.BICUBIC)
        for one in (image, ImageOps.mirror(image))[: 2 if number < 6 else 1]:
            one.save(folder / "one.png")
            found.append(fingerprint(folder / "one.png"))
    return found


def candidates(
    folder: Path, prints: Sequence[Fingerprint | None], events: list[Event] | None = None, workers: int = 1
) -> list[Candidate]:
    index = FeatureIndex(folder)
    for one in prints:
        index.add(one)
    return index.candidates(workers, (events if events is not None else []).append)


PAIRS = [(number, number + 1) for number in range(0, 12, 2)]


def test_a_mirror_changes_the_signs_of_components(prints: list[Fingerprint]) -> None:
    descriptors = prints[0].descriptors
    basis = Basis.of(np.concatenate([one.descriptors for one in prints]))
    there = basis.project(descriptors)
    np.testing.assert_allclose(basis.project(mirrored(descriptors)), there * basis.signs, atol=1e-5)
    assert set(basis.signs.tolist()) == {1.0, -1.0}
    np.testing.assert_allclose(np.linalg.norm(there, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(basis.axes.T @ basis.axes, np.eye(matching.DIMENSIONS), atol=1e-5)


def test_mirror_images_are_candidates(tmp_path: Path, prints: list[Fingerprint]) -> None:
    events: list[Event] = []
    found = candidates(tmp_path, prints, events)
    assert [one.edge for one in found] == PAIRS
    assert all(one.mirror for one in found)
    for one in found:
        a, b = (
            prints[side].sketch.points[strongest(prints[side].sketch.points)[rows]]
            for side, rows in ((one.a, one.matches[:, 0]), (one.b, one.matches[:, 1]))
        )
        # The features of a match lie opposite each other: x of one is 127 - x of the other.
        opposite = np.abs(np.stack([a[:, 0] + b[:, 0] - 127, a[:, 1] - b[:, 1]])).max(axis=0)
        assert np.mean(opposite < 1) > 0.8
    assert isinstance(events[-1], ImagesDone)
    assert (events[-1].done, events[-1].total) == (18, 18)


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_do_not_change_the_candidates(
    tmp_path: Path, prints: list[Fingerprint], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "blocks").mkdir()
    whole = candidates(tmp_path / "whole", prints)
    monkeypatch.setattr(matching, "BLOCK", 5)
    parts = candidates(tmp_path / "blocks", prints, workers=workers)
    for one, other in zip(whole, parts, strict=True):
        assert one[:3] == other[:3]
        np.testing.assert_array_equal(one.matches, other.matches)


@pytest.mark.parametrize("rows", [100, 50_000])
def test_many_small_cells_find_the_same_pairs(
    tmp_path: Path, prints: list[Fingerprint], monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(matching, "CELL_SIZE", 4)
    monkeypatch.setattr(matching, "ROWS", rows)
    found = candidates(tmp_path, prints)
    assert [one.edge for one in found] == PAIRS


def test_a_photograph_that_is_left_out_keeps_its_number(tmp_path: Path, prints: list[Fingerprint]) -> None:
    assert [one.edge for one in candidates(tmp_path, [None, *prints[:2], None, *prints[2:4]])] == [
        (1, 2),
        (4, 5),
    ]
    (tmp_path / "none").mkdir()
    assert candidates(tmp_path / "none", [None, None]) == []
