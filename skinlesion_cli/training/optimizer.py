"""The optimiser, its learning rates, and the average of the weights."""

from typing import Any

import timm.optim
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from skinlesion_cli.common.settings import Settings


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW over the parameters that train, in groups if layers or kinds of parameters differ.

    With `layer_decay`, the learning rate of a layer is multiplied by it once for each layer above (Clark et
    al., ELECTRA, ICLR 2020). Without `decay_norm`, biases and normalisation layers have no weight decay.
    """
    decay, exclude = settings.weight_decay, not settings.decay_norm
    groups: Any = [one for one in model.parameters() if one.requires_grad]
    if settings.layer_decay < 1:
        groups = timm.optim.param_groups_layer_decay(
            model, decay, weight_decay_exclude_1d=exclude, layer_decay=settings.layer_decay
        )
    elif exclude:
        groups = timm.optim.param_groups_weight_decay(model, decay)
    for group in groups:
        if isinstance(group, dict):
            group["lr"] = settings.learning_rate * group.pop("lr_scale", 1.0)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=decay, fused=True)


def make_scheduler(
    optimizer: torch.optim.Optimizer, settings: Settings, epochs: int | None = None
) -> LRScheduler:
    """Learning rates per epoch: cosine annealing to 0, after a linear warm-up if the settings have one.

    The schedule is as long as the run, or as `epochs`, the remaining epochs of a run that was extended.
    """
    epochs = settings.epochs if epochs is None else epochs
    warmup = min(settings.warmup_epochs, epochs - 1)
    if warmup == 0:
        return CosineAnnealingLR(optimizer, epochs)
    rise = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    fall = CosineAnnealingLR(optimizer, epochs - warmup)
    return SequentialLR(optimizer, [rise, fall], milestones=[warmup])


def restarted_schedule(optimizer: torch.optim.Optimizer, settings: Settings, epochs: int) -> LRScheduler:
    """A new schedule from the initial learning rates, for the last `epochs` of a run that was made longer."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"]
    return make_scheduler(optimizer, settings, epochs)


def make_average(model: nn.Module, decay: float) -> ModelEmaV3 | None:
    """The exponential moving average of the weights; None for a decay of 0.

    The decay increases to its value over the first steps: otherwise the average of a short run would be
    dominated by its initial weights.
    """
    return ModelEmaV3(model, decay=decay, use_warmup=True) if decay > 0 else None
