"""Recipes: named sets of settings for `--recipe`. Every other source of settings overrides them."""

from collections.abc import Mapping
from typing import Any

RECIPES: Mapping[str, Mapping[str, Any]] = {
    # The defaults: weighted sampling and weighted loss, as published.
    "paper": {},
    # Without the paper's weights: images are sampled by frequency, and every error counts the same.
    "plain": {"sampler_alpha": 1.0, "loss_beta": 0.0},
    # Like plain, with a higher learning rate and stronger augmentation. docs/recipes.md has the evidence.
    "long-tail": {
        "sampler_alpha": 1.0,
        "loss_beta": 0.0,
        "learning_rate": 1e-3,
        "warmup_epochs": 1,
        "augment": "strong",
    },
}
