"""The application with the trained model."""

from pathlib import Path

import pytest
from starlette.applications import Starlette

from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.serving.answers import Answers
from skinlesion_cli.serving.app import make_app


@pytest.fixture(scope="session")
def answers(checkpoint: Path) -> Answers:
    """The trained model. Read only."""
    return Answers(load_predictor(checkpoint, device="cpu"))


@pytest.fixture
def app(answers: Answers) -> Starlette:
    """The application, as for this machine only."""
    return make_app(answers)
