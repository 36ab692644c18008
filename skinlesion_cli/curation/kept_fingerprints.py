"""Fingerprints in the user's cache folder, by the content of the files.

An interrupted check of a data set goes on where it stopped; a repeated one does not compute features again.
"""

import functools
import hashlib
import io
import os
import sqlite3
import time
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Note, OnEvent
from skinlesion_cli.common.files import ensure_writable_folder, user_cache_folder
from skinlesion_cli.curation.fingerprint import Fingerprint, Sketch, fingerprint

MOST_BYTES = 2 << 30
"""What is kept between checks: about 75,000 photographs, those that were checked last."""
COMMIT_EVERY = 200
"""A killed process loses at most so many."""
VERSION = f"2 {cv2.__version__}"
"""Features of another release of OpenCV may differ."""
_TABLE = """CREATE TABLE IF NOT EXISTS fingerprints
(digest BLOB, version TEXT, used REAL, content BLOB, PRIMARY KEY (digest, version))"""


class KeptFingerprints:
    """A context in which fingerprints are kept; `on_event` is told if the cache folder cannot be used."""

    def __init__(self, on_event: OnEvent, *, near: bool = True):
        """Without features (`near`) there is nothing worth keeping, and no file is opened."""
        self.path: Path | None = None
        """The file that `kept_fingerprint` reads."""
        self._on_event, self._added, self._bytes = on_event, 0, 0
        if not near:
            return
        try:
            path = user_cache_folder() / "fingerprints.sqlite"
            ensure_writable_folder(path.parent)
            self._database = sqlite3.connect(path, timeout=60)
            self._database.execute("PRAGMA auto_vacuum = FULL")
            # Otherwise a long transaction would lock out the processes that read.
            self._database.execute("PRAGMA cache_spill = OFF")
            self._database.execute(_TABLE)
            self._database.commit()
            self.path = path
        except (InputError, sqlite3.Error) as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Write what waits, and drop the fingerprints that were used longest ago."""
        if self.path is None:
            return
        try:
            self._database.execute(
                "DELETE FROM fingerprints WHERE rowid IN (SELECT rowid FROM (SELECT rowid, "
                "SUM(length(content)) OVER (ORDER BY used DESC, rowid) AS size "
                "FROM fingerprints) WHERE size > ?)",
                (MOST_BYTES,),
            )
            self._database.commit()
        except sqlite3.Error as fault:
            self._give_up(fault)
        self._database.close()

    def add(self, one: Fingerprint) -> None:
        """Keep a fingerprint, or note that it was used."""
        if self.path is None:
            return
        key = (one.bytes_digest, VERSION)
        try:
            used = "UPDATE fingerprints SET used = ? WHERE digest = ? AND version = ?"
            if not self._database.execute(used, (time.time(), *key)).rowcount and self._bytes < MOST_BYTES:
                content = _packed(one)
                # More than this would only be dropped at the end.
                self._bytes += len(content)
                row = (*key, time.time(), content)
                self._database.execute("INSERT INTO fingerprints VALUES (?, ?, ?, ?)", row)
        # A full disk must not stop the check.
        except sqlite3.Error as error:
            self._give_up(error)
        self._added += 1
        if self._added % COMMIT_EVERY == 0:
            self.commit()

    def commit(self) -> None:
        """Write what waits, so that other processes can read it."""
        if self.path is None:
            return
        try:
            self._database.commit()
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.path = None
        self._on_event(Note(f"fingerprints are not kept for the next check: {error}"))


def kept_fingerprint(path: Path, store: Path | None, *, near: bool = True) -> Fingerprint:
    """As `fingerprint`, without reading the picture again if its features are kept."""
    digest = None
    if near and store is not None:
        digest = hashlib.sha256(path.read_bytes()).digest()
        try:
            row = _reader(store, os.getpid()).execute(
                "SELECT content FROM fingerprints WHERE digest = ? AND version = ?", (digest, VERSION)
            )
            if found := row.fetchone():
                return _unpacked(digest, found[0])
        except (sqlite3.Error, ValueError, KeyError):
            pass
    return fingerprint(path, near=near, digest=digest)


@functools.lru_cache(maxsize=1)
def _reader(store: Path, process: int) -> sqlite3.Connection:  # noqa: ARG001 - a connection per process
    return sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True, timeout=60)


def _packed(one: Fingerprint) -> bytes:
    file = io.BytesIO()
    pixels = np.frombuffer(one.pixels_digest, np.uint8)
    points, thumb = one.sketch.points, one.sketch.thumb
    np.savez(file, pixels=pixels, points=points, thumb=thumb, descriptors=one.descriptors)
    return file.getvalue()


def _unpacked(digest: bytes, content: bytes) -> Fingerprint:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        sketch = Sketch(arrays["points"], arrays["thumb"])
        return Fingerprint(digest, arrays["pixels"].tobytes(), sketch, arrays["descriptors"])
