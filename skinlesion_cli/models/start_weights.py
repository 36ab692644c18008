"""Which weights a run starts from, and whether they are available. No torch here, so errors come early."""

from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import fault_of, refuse_faulty
from skinlesion_cli.common.limits import MAX_MODEL_BYTES
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.models.hub import require_hub
from skinlesion_cli.models.model_info import model_in
from skinlesion_cli.models.timm_folder import backbone_named, located, names_folder


def with_located_weights(settings: Settings) -> Settings:
    """The settings with a weights file and a backbone in place of a timm folder or a model on the hub.

    If `model_arch` names one, its backbone is used and, with `pretrained`, training starts from its weights.

    Raises:
        SkinLesionError: there is no such folder, or the hub does not respond.
    """
    changed: dict[str, object] = {}
    weights, arch = settings.init_weights, settings.model_arch
    if names_folder(arch):
        changed["model_arch"] = backbone_named(arch)
        if weights is None and settings.pretrained:
            weights = Path(arch)
    if weights is not None and (found := model_in(located(weights))) != settings.init_weights:
        changed["init_weights"] = found
    return settings.model_copy(update=changed) if changed else settings


def require_start_weights(settings: Settings) -> None:
    """Raise a `SkinLesionError` if the weights file is missing, or the hub that has it does not respond."""
    if settings.init_weights is not None:
        refuse_faulty(settings.init_weights, fault_of(settings.init_weights, MAX_MODEL_BYTES))
    elif settings.init_ema:
        raise InputError("--ema chooses among the weights of --init-weights FILE: give both, or neither")
    elif settings.pretrained:
        require_hub(settings.model_arch)
