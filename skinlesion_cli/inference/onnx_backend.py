"""Running an exported model with ONNX Runtime and numpy, without torch."""

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinlesion_cli.common.cores import usable_cores
from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.extras import require_modules
from skinlesion_cli.common.files import EXPORT_MARK, refuse_faulty
from skinlesion_cli.inference.backend import Outputs
from skinlesion_cli.inference.onnx_checks import DAMAGED, fault_of_onnx
from skinlesion_cli.models.model_info import Description, describe, from_json

INPUT, OUTPUT, DISTANCE, CAM = "image", "logits", "distance", "cam"
IMAGES_AT_ONCE = 8
"""Upper limit for any number of cores, because memory grows with it. Each image has its own threads."""

_loading = threading.Lock()

_Shape = tuple[str, str, list[Any]]
_Graph = tuple[list[_Shape], list[_Shape]]
_WRONG = "the .onnx does not match its own metadata; export it again"


@dataclass(frozen=True)
class ClassMaps:
    """The class-activation maps among the outputs of an .onnx."""

    layer: str
    """The layer of the backbone that is mapped."""
    rows: int
    columns: int


class OnnxBackend:
    """A model that ONNX Runtime runs on the CPU. Create it with `load_onnx`."""

    def __init__(self, path: Path, session: Any, description: Description, cam: ClassMaps | None = None):
        self.path, self._path, self._description, self.cam = path, path.absolute(), description, cam
        self.img_size = description.preprocessing.img_size
        self.resize = description.preprocessing.resize
        self._start(session)

    def _start(self, session: Any) -> None:
        self._session, self._process = session, os.getpid()
        self._outputs = [one.name for one in session.get_outputs()]
        self._threads = ThreadPoolExecutor(min(usable_cores(), IMAGES_AT_ONCE), thread_name_prefix="onnx")

    def _here(self) -> None:
        """Load the model again in any process other than the one that loaded it: threads are not forked."""
        if self._process != os.getpid():
            with _loading:
                if self._process != os.getpid():
                    refuse_faulty(self._path, fault_of_onnx(self._path))
                    self._start(_session(self._path))

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: not the session and its threads, which each process creates when it predicts."""
        mine = {"_session": None, "_threads": None, "_process": 0}
        return vars(self) | mine

    def outputs(self, images: NDArray[np.uint8]) -> Outputs:
        """Run the model on a batch of bytes (n, 3, img_size, img_size)."""
        self._here()
        # One image per core: 47 images/s on two cores, compared with 30 to 41 if both cores share each image.
        # A whole batch of 32 does not fit into the caches, and took 1.8 GB instead of 0.2.
        parts = np.split(images, len(images))
        try:
            runs = zip(*self._threads.map(self._run, parts), strict=True)
            found = dict(zip(self._outputs, map(np.concatenate, runs), strict=True))
        # A graph with mismatched parts fails only now, with as many exception types as in `load_onnx`.
        except Exception:
            raise SkinLesionError(_WRONG) from None
        distances, maps = found.get(DISTANCE), found.get(CAM)
        n, classes = len(images), len(self._description.classes)
        shapes: dict[str, tuple[int, ...]] = {OUTPUT: (n, classes), DISTANCE: (n,)}
        if self.cam is not None:
            shapes[CAM] = (n, classes, self.cam.rows, self.cam.columns)
        if any(values.shape != shapes[name] for name, values in found.items()):
            raise SkinLesionError(_WRONG)
        # The logits in the file are calibrated, for programs that do not apply a temperature.
        temperature = self._description.temperature
        return Outputs(
            found[OUTPUT].astype(np.float64) * temperature,
            None if distances is None else distances.astype(np.float64),
            None if maps is None else maps * np.float32(temperature),
        )

    def _run(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return self._session.run(self._outputs, {INPUT: image})  # type: ignore[no-any-return]


def load_onnx(
    path: Path,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    device: str = "auto",
    precision: str = "auto",
    ema: bool | None = None,
    **given: Any,
) -> tuple[Description, OnnxBackend]:
    """Load a file that `skinlesion export` wrote; the other arguments must agree with it.

    `given` are the fields of `Given`.

    Raises:
        InputError: onnxruntime is not installed; the file is missing, damaged or not an export of this
            package; it disagrees with another argument, or cannot run on the device or in the precision.
    """
    for option, value, can in (("--device", device, "cpu"), ("--precision", precision, "fp32")):
        if value.removesuffix(":0") not in ("auto", can):
            raise InputError(f"{option} {value}: an .onnx runs on {can} only; for {value}, use the .pth")
    if ema is not None:
        raise InputError(f"--ema chooses among the weights of a checkpoint; {path} is an export")
    require_modules("onnxruntime", "to run an .onnx")
    refuse_faulty(path, fault_of_onnx(path))
    try:
        session = _session(path)
        known = from_json(session.get_modelmeta().custom_metadata_map)
        graph = _shapes(session.get_inputs()), _shapes(session.get_outputs())
    # onnxruntime raises a dozen exception types, and Python its own for names that are not UTF-8. All mean
    # that the file cannot be used.
    except Exception:
        raise InputError(f"refused to load {path}: {DAMAGED}") from None
    if known.get("format") != EXPORT_MARK:
        raise InputError(f"{path} was not written by `skinlesion export`, and does not name its classes")
    description = describe(path, known, arch=arch, classes=classes, **given)
    cam = _class_maps(known.get("cam"))
    _require_matching(path, graph, known, description, cam)
    return description, OnnxBackend(path, session, description, cam)


def _class_maps(stored: Any) -> ClassMaps | None:
    """The entry `cam` of the metadata; None if it is missing or of another type."""
    match stored:
        case {"layer": str(layer), "grid": [int(rows), int(columns)]}:
            return ClassMaps(layer, rows, columns)
    return None


def _session(path: Path) -> Any:
    import onnxruntime

    # For Windows, and if onnxruntime was imported before this package.
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores() // min(usable_cores(), IMAGES_AT_ONCE)
    # Threads that spin while they wait would take the cores from those that read the next images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Fatal errors only: other errors become our one-line messages, and users cannot act on warnings.
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _shapes(values: Sequence[Any]) -> list[_Shape]:
    """Name, type, and shape without the number of images, of each input or output."""
    return [(one.name, one.type, list(one.shape[1:])) for one in values]


def _require_matching(
    path: Path, graph: _Graph, known: Mapping[str, Any], description: Description, cam: ClassMaps | None
) -> None:
    side = description.preprocessing.img_size
    expected: list[_Shape] = [(OUTPUT, "tensor(float)", [len(description.classes)])]
    if description.distance_limit is not None:
        expected.append((DISTANCE, "tensor(float)", []))
    if cam is not None:
        expected.append((CAM, "tensor(float)", [len(description.classes), cam.rows, cam.columns]))
    if graph != ([(INPUT, "tensor(uint8)", [3, side, side])], expected):
        raise InputError(f"{path} does not match its own metadata; export it again")
    stored = known.get("preprocessing")
    if not isinstance(stored, dict) or "resize_ratio" not in stored:
        raise InputError(f"{path} does not say how its images are resized; export it again")
