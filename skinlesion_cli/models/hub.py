"""The Hugging Face hub and its cache. No torch here: missing weights are reported before that slow import."""

import contextlib
import glob
import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from skinlesion_cli.common.errors import SkinLesionError, one_line

SECONDS = 5.0
"""Time for the hub's first answer. Without a network, looking up its address alone can take 20 seconds."""
_INSTEAD = (
    "use --init-weights FILE (.pth, .safetensors or folder of the same backbone), or --no-pretrained to "
    "start from random weights"
)


def require_hub(arch: str) -> None:
    """SkinLesionError if a backbone's pretrained weights are not cached and the hub does not respond."""
    import huggingface_hub.constants

    cache = Path(huggingface_hub.constants.HF_HUB_CACHE)
    if not any(cache.glob(f"models--*--{glob.escape(arch)}*")):
        try:
            ask_hub(f"timm/{arch}", "config.json")
        except Exception as error:
            # Any answer is enough: the repository of the weights may have another name.
            if getattr(error, "response", None) is None:
                raise unavailable(arch, error) from None


def fetch_folder(name: str, *wanted: Sequence[str]) -> Path:
    """The folder in the hub's cache of a model `ORG/NAME` or `ORG/NAME@REVISION`, downloaded if needed.

    For each list of names in `wanted`, it contains the first file that the model has.

    Raises:
        SkinLesionError: the hub does not respond, or has no such model or file.
    """
    repo, _, revision = name.partition("@")
    try:
        for names in wanted:
            folder = fetch(repo, names, revision or None).parent
            # All files come from one commit, whose ID is the folder's name: the model may change on the hub
            # meanwhile.
            revision = folder.name
        return folder
    # Offline mode, no route, a proxy's reply and a missing file raise many types from several libraries.
    except Exception as error:
        raise SkinLesionError(
            f"cannot fetch {name} from the hub ({one_line(error)}); on a machine with a network, "
            f"run hf download {repo} --local-dir FOLDER, then use a copy of FOLDER"
        ) from None


def fetch(repo: str, names: Sequence[str], revision: str | None = None) -> Path:
    """The first of some files that is in the hub's cache, or else the first that the hub has, downloaded.

    Raises:
        Exception: one of the many errors of huggingface_hub and its dependencies.
    """
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names:
        with contextlib.suppress(LocalEntryNotFoundError):
            found = huggingface_hub.hf_hub_download(repo, name, revision=revision, local_files_only=True)
            return Path(found)
    for last, name in enumerate(names, start=1 - len(names)):
        try:
            # A cheap request first: the download itself would retry for most of a minute.
            ask_hub(repo, name, revision)
            return Path(huggingface_hub.hf_hub_download(repo, name, revision=revision))
        except EntryNotFoundError as error:
            if not last or isinstance(error, LocalEntryNotFoundError):
                raise
    raise AssertionError


def ask_hub(repo: str, filename: str, revision: str | None = None) -> None:
    """Ask the hub for a file's metadata, for at most `SECONDS`; raises the errors of huggingface_hub."""
    import huggingface_hub.constants

    url = huggingface_hub.hf_hub_url(repo, filename, revision=revision)
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
