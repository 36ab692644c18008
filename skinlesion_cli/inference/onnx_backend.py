"""An exported model as what computes probabilities: onnxruntime and numpy, no torch."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.extras import require_modules
from skinlesion_cli.common.files import refuse_faulty
from skinlesion_cli.common.paper import RESIZE_RATIO
from skinlesion_cli.data.workers import usable_cores
from skinlesion_cli.inference.backend import Answers
from skinlesion_cli.inference.onnx_checks import DAMAGED, fault_of_onnx
from skinlesion_cli.models.model_info import Description, describe

INPUT, OUTPUT, DISTANCE = "image", "logits", "distance"
FORMAT = "skinlesion-export-1"
IMAGES_AT_ONCE = 8
"""At most, however many cores there are: memory grows with it. Each has a thread or more of its own."""


_Shape = tuple[str, str, list[Any]]
_WRONG = "the .onnx does not compute what it says of itself; export it again"


class OnnxBackend:
    """A session of onnxruntime on the CPU. Make one with `load_onnx`."""

    def __init__(self, session: Any, img_size: int, classes: int):
        self._session = session
        self._outputs = [one.name for one in session.get_outputs()]
        self._classes = classes
        self._threads = ThreadPoolExecutor(_images_at_once(), thread_name_prefix="onnx")
        self.img_size = img_size
        """Side of the images that the model takes, in pixels."""

    def answers(self, images: NDArray[np.uint8]) -> Answers:
        """What the model says of a batch of bytes (n, 3, img_size, img_size).

        Raises:
            SkinLesionError: the file does not compute what it says.
        """
        # An image a core: two that share one core's work saw 30 to 41 images/s, where two of a core each saw
        # 47. All 32 of a batch do not fit into the caches, and took 1.8 GB instead of 0.2.
        parts = np.split(images, len(images))
        try:
            runs = list(self._threads.map(self._run, parts))
            found = {
                name: np.concatenate(values)
                for name, values in zip(self._outputs, zip(*runs, strict=True), strict=True)
            }
        # A graph whose parts do not fit fails only now, and in as many types as `_session` tells of.
        except Exception:
            raise SkinLesionError(_WRONG) from None
        distances = found.get(DISTANCE)
        shapes = {OUTPUT: (len(images), self._classes), DISTANCE: (len(images),)}
        if any(values.shape != shapes[name] for name, values in found.items()):
            raise SkinLesionError(_WRONG)
        return Answers(softmax(found[OUTPUT]), None if distances is None else distances.astype(np.float64))

    def _run(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        values: list[NDArray[np.float32]] = self._session.run(self._outputs, {INPUT: image})
        return values


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities of logits (n, classes), in float64, so that a very small one does not become 0."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    values: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return values


def load_onnx(
    path: Path,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    img_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> tuple[Description, OnnxBackend]:
    """Load a file that `skinlesion export` wrote.

    Args:
        path: the .onnx file.
        arch: must agree with the file, where it is given.
        classes: likewise.
        img_size: likewise, in pixels.
        device: auto or cpu.
        precision: auto or fp32.

    Raises:
        InputError: onnxruntime is not installed; the file is missing, damaged or no export of this package;
            it does not agree with what is said of it, or cannot compute as asked.
    """
    for option, value, can in (("--device", device, "cpu"), ("--precision", precision, "fp32")):
        if value not in ("auto", can):
            raise InputError(f"{option} {value}: an .onnx runs on {can} here; for {value}, use the .pth")
    require_modules("onnxruntime", "to run an .onnx")
    refuse_faulty(path, fault_of_onnx(path))
    try:
        session = _session(path)
        known, takes, gives = (
            _metadata(session),
            _shapes(session.get_inputs()),
            _shapes(session.get_outputs()),
        )
    # onnxruntime raises a type for each of a dozen faults, and names that are no UTF-8 are one of Python's
    # own. All mean that the file is not to be had.
    except Exception:
        raise InputError(f"refused to load {path}: {DAMAGED}") from None
    if known.get("format") != FORMAT:
        raise InputError(f"{path} was not written by `skinlesion export`: it does not name its classes")
    description = describe(path, known, arch=arch, classes=classes)
    side = description.preprocessing.img_size
    if img_size not in (None, side):
        raise InputError(f"{path} disagrees with --img-size: it takes images of {side} pixels")
    _require_fitting(path, (takes, gives), known, description)
    return description, OnnxBackend(session, side, len(description.classes))


def _images_at_once() -> int:
    return min(usable_cores(), IMAGES_AT_ONCE)


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores() // _images_at_once()
    # Threads that wait by spinning would take the cores from those that read the next images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Only what ends the process: of faults, the one line here tells, and warnings no user can act on.
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _metadata(session: Any) -> dict[str, Any]:
    """What the file says of itself: each entry is a JSON text; entries of other programs may be none."""
    known: dict[str, Any] = {}
    for key, text in session.get_modelmeta().custom_metadata_map.items():
        try:
            known[key] = json.loads(text)
        except (ValueError, RecursionError):
            continue
    return known


def _shapes(values: Sequence[Any]) -> list[_Shape]:
    """Of each input or output: its name, its type, and its shape but for the number of images."""
    return [(one.name, one.type, list(one.shape[1:])) for one in values]


def _require_fitting(
    path: Path,
    graph: tuple[list[_Shape], list[_Shape]],
    known: Mapping[str, Any],
    description: Description,
) -> None:
    """Hold what the graph takes and gives, and its pixels, against the description."""
    side = description.preprocessing.img_size
    expected: list[_Shape] = [(OUTPUT, "tensor(float)", [len(description.classes)])]
    if description.distance_limit is not None:
        expected.append((DISTANCE, "tensor(float)", []))
    if graph != ([(INPUT, "tensor(uint8)", [3, side, side])], expected):
        raise InputError(f"{path} does not compute what it says of itself; export it again")
    stored = known.get("preprocessing")
    ratio = stored.get("resize_ratio") if isinstance(stored, dict) else None
    if ratio != RESIZE_RATIO:
        raise InputError(f"{path} was made for another resize ratio ({ratio}) than {RESIZE_RATIO}")
