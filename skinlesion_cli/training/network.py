"""The network, and which of its layers are trained."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from skinlesion_cli.common.events import Busy, Note, OnEvent
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.models.backbone import create_model, with_synchronized_batchnorm
from skinlesion_cli.models.copies import without_copies
from skinlesion_cli.models.device import Runtime, seed_everything
from skinlesion_cli.models.pretrained import load_start_weights


def make_network(
    settings: Settings, classes: Sequence[str], runtime: Runtime, *, pretrained: bool, on_event: OnEvent
) -> nn.Module:
    """The network on its device, with the start weights of the settings if `pretrained`, or random ones.

    Raises:
        InputError: there is no such architecture, or the weights do not fit.
        SkinLesionError: the weights cannot be fetched.
    """
    on_event(Busy(f"creating {settings.model_arch}"))
    # Seeded first: the head, or the whole model, starts from random weights.
    seed_everything(settings.seed)
    model = create_model(settings.model_arch, len(classes), settings.img_size)
    on_event(Note(f"computing on {runtime.describe()}"))
    if pretrained:
        on_event(Note(f"starting from {load_start_weights(model, settings)}"))
    if settings.sync_batchnorm:
        model = with_synchronized_batchnorm(model, runtime.device)
    if settings.freeze_backbone:
        freeze_backbone(model)
    model = without_copies(model, runtime.device)
    placed: nn.Module = model.to(runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def freeze_backbone(model: nn.Module) -> None:
    """Leave only the classification head to train."""
    model.requires_grad_(False)
    _head(model).requires_grad_(True)


def set_training_mode(model: nn.Module, *, frozen: bool) -> None:
    """Put the model into training mode; the running statistics of a frozen backbone do not change."""
    model.train(not frozen)
    if frozen:
        _head(model).train()


def _head(model: Any) -> nn.Module:
    head: nn.Module = model.get_classifier()
    return head
