from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.report.heatmaps.files import Files, plan


def photographs(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, two, three = photographs(tmp_path, "in/a.jpg", "in/b/A.png", "in/c.jpg")
    here = Path()
    assert plan([one], None, tiles=1, npy=True) == Files(
        [here / "a_gradcam.png"], [], [here / "a_gradcam.npy"]
    )
    assert plan([one], "x/y.svg", tiles=3, npy=True) == Files([Path("x/y.svg")], [], [Path("x/y.npy")])
    assert plan([one], "x/", tiles=1, npy=False) == Files([Path("x/a_gradcam.png")], [], [])
    assert plan([one, two], None, tiles=1, npy=False) == Files([], [Path("sheet.png")], [])
    named = [Path("out/a_gradcam.png"), Path("out/A_gradcam-2.png"), Path("out/c_gradcam.png")]
    maps = [path.with_suffix(".npy") for path in named]
    assert plan([one, two, three], "out/", tiles=1, npy=True) == Files(named, [Path("out/sheet.png")], maps)
    assert plan([one, two, three], "out/s.jpg", tiles=1, npy=True) == Files([], [Path("out/s.jpg")], maps)


@pytest.mark.parametrize(("images", "tiles", "sheets"), [(48, 1, 1), (49, 1, 2), (17, 3, 2), (97, 1, 3)])
def test_there_are_as_many_sheets_as_are_needed(images: int, tiles: int, sheets: int, tmp_path: Path) -> None:
    paths = photographs(tmp_path, *(f"{number}.jpg" for number in range(images)))
    names = [path.name for path in plan(paths, f"{tmp_path}/s.png", tiles=tiles, npy=False).sheets]
    assert names == ["s.png", "s-2.png", "s-3.png"][:sheets]


def test_no_photograph_is_overwritten(tmp_path: Path) -> None:
    photos = photographs(tmp_path, "a.png", "a_gradcam.png", "sheet-2.png", "sheet.png", "link/x.png")
    (tmp_path / "other.png").symlink_to(photos[0])
    for images, out in (
        (photos[:1], tmp_path / "a.png"),
        (photos[:1], tmp_path / "other.png"),
        (photos[:2], tmp_path),
        ([photos[0], photos[3]], tmp_path),
        ([photos[0], photos[2]] * 30, tmp_path / "sheet.png"),
    ):
        with pytest.raises(InputError, match="would overwrite the photograph"):
            plan(images, str(out), tiles=1, npy=False)
    with pytest.raises(InputError, match=r"a folder's name must end with /"):
        plan(photos, str(tmp_path / "new"), tiles=1, npy=False)
