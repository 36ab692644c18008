"""The hub's cache as huggingface_hub lays it out: models--ORG--NAME/snapshots/COMMIT/FILE, and refs."""

import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest

COMMIT = "0" * 40


def use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder the hub's cache in this process, offline; returns it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return cache


def fill_cache(cache: Path, name: str, folder: Path, ref: str = "main") -> None:
    """Put a folder into the cache, as the model `ORG/NAME` at a branch."""
    repository = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / ref).write_text(COMMIT, encoding="utf-8")
