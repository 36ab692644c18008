"""The results so far of a pass over many images, kept on disk so that an interrupted pass can be resumed.

The journal is beside the output, as `OUTPUT.unfinished`; each part of an array job has its own,
`OUTPUT.unfinished-I-of-N`. It has one line of JSON per batch. Numbers are restored to the last bit, so a
resumed pass gives exactly the output of an uninterrupted one.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.events import Note, OnEvent, ignore
from skinlesion_cli.common.files import partial_of

Batch = dict[str, Any]
"""A batch as JSON-ready data."""


class Journal:
    """The finished batches of a command."""

    def __init__(
        self,
        output: Path,
        made_with: Mapping[str, Any],
        *,
        resume: bool = False,
        part: tuple[int, int] = (1, 1),
        on_event: OnEvent = ignore,
    ):
        """Open the journal of an output file.

        Args:
            output: the file that the command writes in the end.
            made_with: what the results depend on, apart from the images; JSON-ready.
            resume: reuse what earlier, interrupted commands have computed, including all parts.
            part: (i, n): compute only every n-th batch, from the i-th on.
            on_event: receives the number of images that were finished before.

        Raises:
            InputError: there are earlier results without `resume`, or they were made with other settings.
        """
        self.part, self._output, self._on_event = part, output, on_event
        self._header = json.loads(json.dumps(dict(made_with)))
        ending = "" if part == (1, 1) else f"-{part[0]}-of-{part[1]}"
        self.path = output.with_name(f"{output.name}.unfinished{ending}")
        self._places: dict[tuple[str, int], tuple[Path, int]] = {}
        """Where the line of each finished batch begins."""
        for path in self._earlier():
            if not resume:
                raise InputError(
                    f"{path} contains the results of an interrupted command: continue it with --resume, or "
                    "remove that file to start over"
                )
            self._index(path)

    def _earlier(self) -> list[Path]:
        if self.part != (1, 1):
            return [self.path] if self.path.exists() else []
        known = re.compile(re.escape(self.path.name) + r"(-\d+-of-\d+)?")
        folder = self._output.parent
        files = folder.iterdir() if folder.is_dir() else []
        return sorted(path for path in files if known.fullmatch(path.name))

    def _index(self, path: Path) -> None:
        """Record where the batches of a file are; cut off an incomplete last line."""
        with path.open("rb+") as file:
            header, whole = _parsed(file.readline()), file.tell()
            if header is not None and header != self._header:
                keys = self._header.keys() | header.keys()
                other = ", ".join(sorted(key for key in keys if header.get(key) != self._header.get(key)))
                raise InputError(f"{path} was made with other settings ({other}): remove it to start over")
            while header is not None and (line := _parsed(file.readline())) is not None:
                self._places[line["section"], line["batch"]] = (path, whole)
                whole = file.tell()
            file.truncate(0 if header is None else whole)

    def section(self, name: str, paths: Sequence[Path], batch_size: int) -> "Section":
        """One pass over some images, identified by the name and the state of the files."""
        digest = hashlib.sha256()
        for path in paths:
            state = ""
            with contextlib.suppress(OSError):
                found = path.stat()
                state = f"{found.st_size} {found.st_mtime_ns}"
            digest.update(os.fsencode(path) + f"\0{state}\n".encode())
        one = Section(self, f"{name} {digest.hexdigest()[:32]}")
        if self._places:
            done = sum(min(batch_size, len(paths) - batch * batch_size) for batch in one.finished())
            self._on_event(Note(f"{done:,} of {len(paths):,} images were finished before ({name})"))
        return one

    def batches(self, section: str) -> list[int]:
        """The numbers of the finished batches of a section."""
        return sorted(batch for name, batch in self._places if name == section)

    def read(self, section: str, batch: int) -> Batch:
        """A finished batch."""
        path, place = self._places[section, batch]
        with path.open("rb") as file:
            file.seek(place)
            found = _parsed(file.readline())
        if found is None:
            raise SkinLesionError(f"{path} was changed by another program: remove it to start over")
        return found

    def write(self, section: str, number: int, batch: Batch) -> None:
        """Append a batch. It survives the end of this process, but not a power failure."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if file.tell() == 0:
                    file.write(json.dumps(self._header).encode() + b"\n")
                file.write(json.dumps({"section": section, "batch": number, **batch}).encode() + b"\n")
        except OSError as error:
            raise SkinLesionError(f"cannot write {self.path}: {error.strerror or error}") from error

    def remove(self) -> None:
        """Remove it, and what a killed command left of the output, because the output is complete."""
        folder = self._output.parent
        for path in [*self._earlier(), *(one for one in folder.iterdir() if partial_of(one) == self._output)]:
            path.unlink(missing_ok=True)


class Section:
    """One pass over some images in a journal, by the numbers of their batches, from 0."""

    def __init__(self, journal: Journal, name: str):
        self._journal, self._name = journal, name

    def finished(self) -> list[int]:
        """The batches that need not be computed again."""
        return self._journal.batches(self._name)

    def planned(self, batches: int) -> Iterator[int]:
        """The batches that this command yields, out of this number."""
        first, step = self._journal.part
        return iter(range(first - 1, batches, step))

    def read(self, number: int) -> Batch:
        """A finished batch."""
        return self._journal.read(self._name, number)

    def write(self, number: int, batch: Batch) -> None:
        """Append a batch."""
        self._journal.write(self._name, number, batch)


def _parsed(line: bytes) -> Batch | None:
    """A line of a journal; None if it is incomplete."""
    try:
        found = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def hash_of_file(path: Path) -> str:
    """SHA-256 of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
