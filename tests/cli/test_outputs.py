"""No output replaces an input, a photograph or a model; and what this tool draws is no photograph."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import ensure_writable_file
from skinlesion_cli.data.find_images import find_images
from tests.conftest import Run


@pytest.fixture
def photos(picture: Path, exported: Path, tmp_path: Path) -> Path:
    """A folder with two photographs and a model."""
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(picture, tmp_path / "photos" / name)
    shutil.copy(exported, tmp_path / "m.onnx")
    return tmp_path / "photos"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_table_replaces_nothing_but_a_table(refused: Callable[..., str], photos: Path, run_in: Run) -> None:
    folder = photos.parent
    (folder / "classes.csv").write_text("a\nb\nc\n", encoding="utf-8")
    shutil.copy(photos / "a.jpg", folder / "disguised.csv")
    (folder / "link.csv").symlink_to(folder / "classes.csv")
    before = contents(folder)
    model = ["--checkpoint", "m.onnx"]
    for target, reason in (
        ("photos/a.jpg", "the file must be a .csv"),
        ("m.onnx", "the file must be a .csv"),
        ("o.xlsx", "the file must be a .csv"),
        ("disguised.csv", "is not an earlier output"),
        ("classes.csv", "an input"),
        ("link.csv", "an input"),
    ):
        line = refused("predict", "photos/b.jpg", *model, "--csv", target, "--classes", "classes.csv")
        assert reason in line
        assert target in line
    (folder / "counts.csv").write_text("class,count\na,3\nb,4\n", encoding="utf-8")
    before |= contents(folder)
    assert "an input" in refused("weights", "--counts", "counts.csv", "--csv", "counts.csv")
    assert "which is not an earlier output" in refused("weights", "--plot", "photos/b.jpg")
    assert contents(folder) == before
    for _ in range(2):
        run_in(folder, "weights", "--csv", "w.csv", "--plot", "w.png")


def test_a_model_replaces_only_an_export(
    refused: Callable[..., str], photos: Path, checkpoint: Path, run_in: Run
) -> None:
    folder = photos.parent
    (folder / "theirs.onnx").write_bytes(b"\x08\x07\x12\x07pytorch\x1a\x032.0" * 100)
    before = contents(folder)
    options = ["export", "--checkpoint", checkpoint, "--to"]
    assert "which is not an earlier output" in refused(*options, "theirs.onnx")
    assert contents(folder) == before
    run_in(folder, *options, "m.onnx")


def test_heat_maps_beside_their_photographs_are_not_photographs(
    photos: Path, checkpoint: Path, run_in: Run, refused: Callable[..., str]
) -> None:
    options = ["gradcam", "photos", "--checkpoint", checkpoint, "--out", "photos/"]
    run_in(photos.parent, *options)
    drawn = {"a_gradcam.png", "b_gradcam.png", "sheet.png"}
    assert {path.name for path in photos.iterdir()} == {"a.jpg", "b.jpg", *drawn}
    again = run_in(photos.parent, *options)
    assert "3 figures of this tool, such as heat maps, are skipped" in again.stderr
    assert {path.name for path in photos.iterdir()} == {"a.jpg", "b.jpg", *drawn}
    answers = run_in(photos.parent, "predict", "photos", "--checkpoint", "m.onnx", "--json").json()
    assert [Path(one["image"]).name for one in answers] == ["a.jpg", "b.jpg"]
    globbed = run_in(photos.parent, "predict", "photos/*.png", "--checkpoint", "m.onnx", code=2)
    assert "there is no file photos/*.png" in globbed.stderr
    # A map that is named is taken: the user may mean it.
    assert [path.name for path in find_images([str(photos / "sheet.png")])] == ["sheet.png"]
    # Another photograph is not, in whatever format it is.
    with Image.open(photos / "a.jpg") as photograph:
        photograph.save(photos / "c.png")
    before = contents(photos)
    line = refused("gradcam", "photos/a.jpg", "--checkpoint", checkpoint, "--out", "photos/c.png")
    assert "would overwrite the photograph photos/c.png" in line
    assert "would overwrite the photograph" in refused(
        "gradcam", "photos/b.jpg", *options[2:4], "--out", "photos/b.jpg"
    )
    assert contents(photos) == before


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pdf", ".svg"])
def test_figures_of_every_format_are_recognised(suffix: str, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    from skinlesion_cli.report.drawing import save_figure

    path = tmp_path / f"figure{suffix}"
    save_figure(Figure(), path)
    ensure_writable_file(path, suffix, option="--out")
    if suffix in {".png", ".jpg"}:
        with pytest.raises(InputError, match="there is no image in"):
            find_images([str(tmp_path)])
    Image.new("RGB", (90, 60)).save(path) if suffix in {".png", ".jpg"} else path.write_bytes(b"%PDF-1.4\n")
    with pytest.raises(InputError, match="which is not an earlier output"):
        ensure_writable_file(path, suffix, option="--out")


def test_predictions_are_not_replaced_by_their_scores(
    photos: Path, exported: Path, data: Path, run_in: Run, refused: Callable[..., str]
) -> None:
    folder = photos.parent
    run_in(folder, "evaluate", "--data", data, "--checkpoint", exported, "--out", "e")
    before = contents(folder / "e")
    line = refused("evaluate", "--predictions", "e/predictions.csv", "--out", "e")
    assert "--out would overwrite the file e/predictions.csv, an input" in line
    assert contents(folder / "e") == before
