"""The environment of a run: versions, device, commit, command and data, for results/environment.json."""

import datetime
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from skinlesion_cli.common.files import write_text
from skinlesion_cli.data.file_hashes import Contents, summary_of
from skinlesion_cli.models.checkpoint import versions

LIBRARIES = ("torchvision", "numpy", "pillow")
GIT_SECONDS = 5.0


def environment(*, device: str, command: Sequence[str], seed: int, contents: Contents) -> dict[str, Any]:
    """Describe a run that starts now, in the current folder; `device` names the device and its precision."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "git_commit": git_commit(Path()),
        "versions": versions() | {name: metadata.version(name) for name in LIBRARIES},
        "platform": platform.platform(),
        "device": device,
        "seed": seed,
        "data": summary_of(contents),
    }


def record(path: Path, entry: Mapping[str, Any], *, resumed: bool) -> None:
    """Write the entry of a new run, or append that of a resumed run to the list `resumed` of the file."""
    document: dict[str, Any] = {**entry, "resumed": []}
    if resumed:
        try:
            document = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            document = {}
        earlier = document.get("resumed")
        document["resumed"] = [*(earlier if isinstance(earlier, list) else []), dict(entry)]
    write_text(path, json.dumps(document, indent=2) + "\n")


def git_commit(folder: Path) -> str | None:
    """The commit that is checked out in the git repository around `folder`; None outside of one."""
    try:
        command = ["git", "-C", str(folder), "rev-parse", "--verify", "HEAD"]
        nothing = subprocess.DEVNULL
        found = subprocess.check_output(command, stdin=nothing, stderr=nothing, timeout=GIT_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.decode("ascii", "replace").strip() or None
