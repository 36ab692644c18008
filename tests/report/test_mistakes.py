"""Pictures of mistakes come from the data set's folder and from nowhere else."""

from pathlib import Path

import pytest

from skinlesion_cli.report.mistakes import Mistake, draw_mistakes


@pytest.mark.parametrize("absolute", [True, False])
def test_a_name_that_leaves_the_folder_brings_no_picture(
    checkpoint: Path, picture: Path, data: Path, absolute: bool
) -> None:
    split = data / "val"
    outside = str(picture) if absolute else f"../{picture.relative_to(data).as_posix()}"
    assert (split / outside).is_file()
    label = picture.parent.name
    inside = next((split / label).iterdir()).relative_to(split).as_posix()
    mistakes = [Mistake(name, label, label, 0.9, 0.1) for name in (outside, inside)]
    assert list(draw_mistakes(mistakes, checkpoint, split, device="cpu")) == [inside]
