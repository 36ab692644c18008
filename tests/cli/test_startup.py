"""Importing large libraries without Python's garbage collector."""

import gc
from importlib import import_module

import pytest

from skinlesion_cli.cli.startup import importing


def test_what_is_imported_is_never_searched_for_garbage() -> None:
    before = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
        made = [[number] for number in range(10_000)]
    try:
        assert gc.isenabled()
        assert gc.get_freeze_count() - before >= len(made)
    finally:
        gc.unfreeze()


def test_garbage_is_collected_again_after_a_failed_import() -> None:
    with pytest.raises(ModuleNotFoundError), importing():
        import_module("skinlesion_cli.absent")
    gc.unfreeze()
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
