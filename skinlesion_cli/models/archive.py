"""Whether a file that torch wrote is still as it was written."""

import zipfile
from pathlib import Path


def require_intact(path: Path) -> None:
    """Hold the entries of a .pth against the checksums that were written with them.

    torch reads the numbers of a damaged file without a word: it does not look at its own checksums. Files of
    the kind that torch wrote before version 1.6 have none, and pass.

    Raises:
        ValueError, zipfile.BadZipFile: an entry is not what was written.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        # torch compresses nothing. What grows when it is read is none of its files, and could grow endlessly.
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise ValueError("its entries are larger than the file")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} does not fit")
