"""HEIC and AVIF by the encoders that people have."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.curation.synthetic import draw_lesion
from skinlesion_cli.data import images
from skinlesion_cli.data.images import read_image, stored_kind, upright_size
from skinlesion_cli.data.screening import examine
from skinlesion_cli.data.suffixes import IMAGE_SUFFIXES
from tests.support.encoders import avif, heic, needs_heic, turned
from tests.support.icc import in_srgb, profile_of

LESION = draw_lesion("synthetic blotch", 5)
KINDS = [pytest.param("heic", marks=needs_heic), "avif"]
ENCODERS = {"heic": heic, "avif": avif}


def saved(folder: Path, kind: str, image: Image.Image = LESION, **options: object) -> Path:
    path = folder / f"photo.{kind}"
    path.write_bytes(ENCODERS[kind](image, quality=95, **options))
    return path


def off(path: Path, expected: Image.Image | np.ndarray) -> float:
    return float(np.abs(np.asarray(read_image(path)).astype(float) - np.asarray(expected)).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("orientation", "degrees"), [(1, 0), (3, 180), (6, -90), (8, 90)])
def test_the_picture_is_upright_once(kind: str, orientation: int, degrees: int, tmp_path: Path) -> None:
    path = saved(tmp_path, kind, exif=turned(orientation))
    expected = LESION.rotate(degrees, expand=True)
    assert read_image(path).size == upright_size(path) == upright_size(path, shorter=40) == expected.size
    assert off(path, expected) < 2


@pytest.mark.parametrize("kind", KINDS)
def test_display_p3_becomes_srgb(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path, kind, icc_profile=profile_of("Display P3"))
    assert stored_kind(path)[1:] == ("RGB", "Display P3")
    assert off(path, in_srgb(np.asarray(LESION).astype(float), "Display P3")) < 1.5
    # Its numbers without the profile are others.
    assert off(path, LESION) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_greys_and_transparency(kind: str, tmp_path: Path) -> None:
    assert off(saved(tmp_path, kind, LESION.convert("L")), LESION.convert("L").convert("RGB")) < 2
    clear = LESION.convert("RGBA")
    clear.putalpha(0)
    assert off(saved(tmp_path, kind, clear), Image.new("RGB", LESION.size, "white")) < 2


@needs_heic
def test_a_thumbnail_is_not_taken_for_the_photograph(tmp_path: Path) -> None:
    large = LESION.resize((800, 600))
    path = saved(tmp_path, "heic", large, thumbnails=[256])
    assert read_image(path, shorter=100).size == (800, 600)
    assert examine(path, img_size=64).size == (800, 600)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_the_content_counts_and_not_the_suffix(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path, kind)
    other = path.rename(path.with_suffix(".jpg"))
    assert off(other, LESION) < 2


@pytest.mark.parametrize("kind", KINDS)
def test_limits_and_damage_are_one_line(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, kind)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:60], whole[:30] + bytes(200)):
        path.write_bytes(content)
        with pytest.raises(UnreadableImageError, match=r"^cannot read [^\n]*photo[^\n]*$"):
            read_image(path)
    path.write_bytes(whole)
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    with pytest.raises(UnreadableImageError, match="203×170 pixels, more than 1,000"):
        read_image(path)


def test_without_the_package_the_file_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Python finds it where pillow-heif is not installed. A file that begins as an iPhone's does.
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300))
    assert path.suffix.lower() in IMAGE_SUFFIXES
    for look in (read_image, upright_size, stored_kind):
        with pytest.raises(UnreadableImageError) as raised:
            look(path)
        assert str(raised.value) == (
            f"cannot read {path}: pillow-heif is needed to read HEIC: pip install pillow-heif"
        )
    assert "pip install pillow-heif" in str(examine(path, img_size=64, decode=True))
