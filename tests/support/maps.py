"""Small untrained backbones, and the map of one class."""

import timm
import torch

from skinlesion_cli.saliency.cam_methods import DEFAULT_METHOD
from skinlesion_cli.saliency.gradcam import class_activation_maps


def model_of(arch: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(arch, num_classes=5, **options).eval()


def class_activation_map(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    layer: str,
    target: int | None = None,
    method: str = DEFAULT_METHOD,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The map of one class, by default of the predicted one, and the logits."""
    maps, logits = class_activation_maps(
        model, inputs, layer, lambda logits: [int(logits.argmax()) if target is None else target], method
    )
    return next(iter(maps.values())), logits
