import os
import signal
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion_cli.common.events import Event, Note
from skinlesion_cli.curation import fingerprint as module
from skinlesion_cli.curation import kept_fingerprints
from skinlesion_cli.curation.kept_fingerprints import KeptFingerprints, kept_fingerprint
from tests.conftest import draw_data_set
from tests.support.processes import run_to_end, started, wait_for


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "photo.png"
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (60, 90, 3), np.uint8)).resize((240, 160)).save(path)
    return path


def keep(*photos: Path) -> Path:
    with KeptFingerprints(print) as kept:
        assert kept.path is not None
        for photo in photos:
            kept.add(kept_fingerprint(photo, kept.path))
    return kept.path


def rows(store: Path) -> int:
    with sqlite3.connect(store) as database:
        return int(database.execute("SELECT count(*) FROM fingerprints").fetchone()[0])


def test_what_is_kept_equals_what_is_computed(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = kept_fingerprint(photo, None)
    assert len(computed.descriptors) > 20
    store = keep(photo)
    # The same content under another name; the features are not computed again.
    monkeypatch.setattr(module, "local_features", None)
    found = kept_fingerprint(photo.rename(photo.with_name("other.png")), store)
    assert (found.bytes_digest, found.pixels_digest) == (computed.bytes_digest, computed.pixels_digest)
    for one, other in (
        (found.sketch.points, computed.sketch.points),
        (found.sketch.thumb, computed.sketch.thumb),
        (found.descriptors, computed.descriptors),
    ):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_a_changed_file_is_read_again(photo: Path) -> None:
    before = kept_fingerprint(photo, store := keep(photo))
    with Image.open(photo) as image:
        image.rotate(90, expand=True).save(photo)
    after = kept_fingerprint(photo, store)
    assert after.pixels_digest != before.pixels_digest
    assert after.sketch.thumb.shape != before.sketch.thumb.shape


def test_one_search_keeps_no_more_than_the_limit(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_fingerprints, "MOST_BYTES", 1)
    other = photo.with_name("other.png")
    with Image.open(photo) as image:
        image.rotate(90, expand=True).save(other)
    with KeptFingerprints(print) as kept:
        for one in (photo, other):
            kept.add(kept_fingerprint(one, kept.path))
        assert kept.path is not None
        assert kept._database.execute("SELECT count(*) FROM fingerprints").fetchone() == (1,)


def test_the_oldest_go_first(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = []
    with Image.open(photo) as image:
        for angle in (90, 180):
            others.append(photo.with_name(f"{angle}.png"))
            image.rotate(angle, expand=True).save(others[-1])
    store = keep(photo, *others)
    assert rows(store) == 3
    with sqlite3.connect(store) as database:
        sizes = [size for (size,) in database.execute("SELECT length(content) FROM fingerprints")]
    monkeypatch.setattr(kept_fingerprints, "MOST_BYTES", sum(sizes) - 1)
    keep(photo)
    assert rows(store) == 2
    monkeypatch.setattr(module, "local_features", None)
    kept_fingerprint(photo, store)


def test_a_damaged_store_is_told_of_and_left(photo: Path) -> None:
    keep(photo).write_bytes(b"no database at all" * 100)
    told: list[Event] = []
    with KeptFingerprints(told.append) as kept:
        kept.add(kept_fingerprint(photo, kept.path))
    assert kept.path is None
    assert [type(one) for one in told] == [Note]
    assert "fingerprints are not kept" in told[0].text  # type: ignore[union-attr]


def test_a_killed_check_goes_on(command_environment: dict[str, str], tmp_path: Path) -> None:
    folder = draw_data_set(tmp_path / "data", {"train": (150, 100), "test": (100, 100)})
    env = command_environment | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "SKINLESION_NUM_WORKERS": "0"}
    command = [sys.executable, "-m", "skinlesion_cli", "data", "check", str(folder), "--json"]
    store = tmp_path / "cache" / "skinlesion" / "fingerprints.sqlite"
    with started(command, env=env) as process:
        wait_for(lambda: store.exists() and rows(store) >= kept_fingerprints.COMMIT_EVERY, process=process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
    assert 0 < rows(store) < 450
    done = run_to_end(command, env=env)
    assert rows(store) == 450
    whole = run_to_end(command, env=env | {"XDG_CACHE_HOME": str(tmp_path / "empty")})
    assert done.stdout == whole.stdout
