"""Tests on a GPU: `pytest -m gpu -n 0 tests/gpu`.

Tests that take `device` can be rehearsed without one: `GPU_TESTS_ON=cpu pytest -m gpu -n 0 tests/gpu`.
"""

import os

import pytest


@pytest.fixture(scope="session")
def device() -> str:
    """The device under test."""
    return os.environ.get("GPU_TESTS_ON", "cuda")
