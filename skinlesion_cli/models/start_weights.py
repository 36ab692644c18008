"""Which weights a run starts from, and whether it can get them. No torch here: it fails before that."""

from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.files import fault_of, refuse_faulty
from skinlesion_cli.common.limits import MAX_MODEL_BYTES
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.models.hub import require_hub
from skinlesion_cli.models.model_info import model_in
from skinlesion_cli.models.timm_folder import backbone_named, located, names_folder


def with_located_weights(settings: Settings) -> Settings:
    """The settings with a file of weights and a backbone, where they name a folder or a model of the hub.

    A `model_arch` that names one is its backbone, and with `pretrained` its weights are those to start from.

    Raises:
        SkinLesionError: there is no such folder, or the hub does not answer.
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
    """Raise a `SkinLesionError` if the file of the weights is missing, or the hub that has them is silent."""
    if settings.init_weights is not None:
        refuse_faulty(settings.init_weights, fault_of(settings.init_weights, MAX_MODEL_BYTES))
    elif settings.init_ema:
        raise InputError("--ema chooses among the weights of --init-weights FILE: give both, or neither")
    elif settings.pretrained:
        require_hub(settings.model_arch)
