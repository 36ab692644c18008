"""README.md of a model's folder on the Hugging Face hub: its header, the model card, how to load it."""

import re
from pathlib import Path

from markupsafe import Markup

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.models.model_info import Description
from skinlesion_cli.models.preprocessing import preprocessing_text
from skinlesion_cli.report.card import marked, model_card
from skinlesion_cli.report.facts import RunFacts, read_run
from skinlesion_cli.report.page import DISCLAIMER, default_title
from skinlesion_cli.report.templates import render_markdown
from skinlesion_cli.training.run_folder import RunFolder, run_of


def hub_readme(description: Description, model: Path) -> tuple[str, str]:
    """The text, and the reason if it has no scores; `model` is the file that the description was read from.

    The scores are those of the run that wrote the file.
    """
    facts, missing = _facts(model)
    text = render_markdown(
        "hub.md",
        card=None if facts is None else Markup(model_card(facts, default_title(facts), ".")),
        description=description,
        disclaimer=DISCLAIMER,
        prepared=preprocessing_text(description.preprocessing),
        # In Python's notation, with all digits.
        temperature=Markup(repr(description.temperature)),
    )
    return marked(re.sub(r"\n{3,}", "\n\n", text)), missing


def _facts(model: Path) -> tuple[RunFacts | None, str]:
    run = run_of(model)
    if run is None or model.name != RunFolder(run).best.name:
        return None, f"{model} is not the best model in the folder of a run"
    try:
        return read_run(run), ""
    except InputError as error:
        return None, str(error)
