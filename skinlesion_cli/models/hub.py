"""Whether a run can get its starting weights. No torch here: where it cannot, it fails before that import."""

import glob
import queue
import threading
from pathlib import Path

from skinlesion_cli.common.errors import SkinLesionError, one_line
from skinlesion_cli.common.files import fault_of, refuse_faulty
from skinlesion_cli.common.limits import MAX_MODEL_BYTES
from skinlesion_cli.common.settings import Settings

SECONDS = 5.0
"""Time for the hub's first answer. Without a network, looking up its address alone can take 20 seconds."""
_INSTEAD = (
    "use --init-weights FILE (.pth or .safetensors of the same backbone), or --no-pretrained to start from "
    "random weights"
)


def require_start_weights(settings: Settings) -> None:
    """Raise a `SkinLesionError` if the file of the weights is missing, or the hub that has them is silent."""
    if settings.init_weights is not None:
        refuse_faulty(settings.init_weights, fault_of(settings.init_weights, MAX_MODEL_BYTES))
    elif settings.pretrained:
        _require_hub(settings.model_arch)


def _require_hub(arch: str) -> None:
    import huggingface_hub.constants

    cache = Path(huggingface_hub.constants.HF_HUB_CACHE)
    if not any(cache.glob(f"models--*--{glob.escape(arch)}*")):
        try:
            ask_hub(f"timm/{arch}", "config.json")
        except Exception as error:
            # Any answer will do: the repository of the weights may have another name.
            if getattr(error, "response", None) is None:
                raise unavailable(arch, error) from None


def ask_hub(repo: str, filename: str) -> None:
    """Ask the hub for a file's metadata, for at most `SECONDS`; raises the errors of huggingface_hub."""
    import huggingface_hub.constants

    url = huggingface_hub.hf_hub_url(repo, filename)
    answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            huggingface_hub.get_hf_file_metadata(url, timeout=SECONDS)
            answers.put(None)
        except Exception as error:
            answers.put(error)

    # In a thread: the timeout of the request does not cover the look-up of the address.
    threading.Thread(target=ask, name="hub", daemon=True).start()
    try:
        fault = answers.get(timeout=SECONDS)
    except queue.Empty:
        fault = TimeoutError(f"no answer in {SECONDS:.0f} seconds")
    if fault is not None:
        raise fault


def unavailable(arch: str, error: Exception) -> SkinLesionError:
    """The error that says what to do without the hub."""
    return without_pretrained(
        f"cannot fetch the pretrained weights of {arch} from the hub ({one_line(error)})"
    )


def without_pretrained(fault: str) -> SkinLesionError:
    """A fault, followed by the two ways to start without pretrained weights."""
    return SkinLesionError(f"{fault}; {_INSTEAD}")
