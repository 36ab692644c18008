"""Every reader of untrusted files: how to call it, valid seed files, and tokens of its format."""

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np

from skinlesion_cli.common.errors import SkinLesionError
from skinlesion_cli.report.facts import DOCUMENT_KEYS
from tests.fuzz.image_files import TOKENS, check_image, image_seeds, with_checksums

CLASSES = ["a", "b", "c"]
MAX_MESSAGE_LENGTH = 10_000


@dataclass(frozen=True)
class Reader:
    """A function that reads a file. It must return, or raise a SkinLesionError with a short message."""

    name: str
    suffix: str
    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]
    tokens: Sequence[bytes] = field(default=())
    wrap: Callable[[bytes], bytes] = bytes
    """Builds the file from damaged bytes, with checksums and lengths that do not reveal the damage."""


def fault_of_reading(reader: Reader, path: Path) -> tuple[str, bool]:
    """What the reader did wrong (empty if nothing), and whether it refused the file."""
    fault, refused = "", False
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            reader.read(path)
        except SkinLesionError as error:
            refused = True
            if len(str(error)) > MAX_MESSAGE_LENGTH:
                fault = f"a message of {len(str(error))} characters"
        except Exception as error:
            fault = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return fault or (f"warning: {str(warned[0].message)[:200]}" if warned else ""), refused


def _in_archive(pickled: bytes) -> bytes:
    """A zip archive as torch writes it: a checkpoint of `_checkpoints` with this pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_checkpoints()[0])) as archive, zipfile.ZipFile(buffer, "w") as file:
        for name in archive.namelist():
            file.writestr(name, pickled if name.endswith("data.pkl") else archive.read(name))
    return buffer.getvalue()


def _pickles() -> list[bytes]:
    with zipfile.ZipFile(io.BytesIO(_checkpoints()[0])) as file:
        return [file.read(name) for name in file.namelist() if name.endswith("data.pkl")]


def _with_header(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + bytes(60)


def _headers() -> list[bytes]:
    return [data[8 : 8 + int.from_bytes(data[:8], "little")] for data in _safetensors()]


def _state() -> dict[str, object]:
    import torch

    names = ("stem.conv.weight", "head.fc.weight", "head.fc.bias")
    return {name: torch.arange(6.0).reshape(3, 2) if "bias" not in name else torch.ones(3) for name in names}


def _metadata() -> dict[str, object]:
    return {
        "arch": "mobilevitv2_050",
        "classes": CLASSES,
        "img_size": 32,
        "preprocessing": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_ratio": 1.14},
        "settings": {"loss_beta": 0.9, "epochs": 3},
        "class_counts": dict.fromkeys(CLASSES, 4),
        "metrics": {"val_loss": 1.0},
        "epoch": 2,
        "temperature": 1.5,
    }


def _load_checkpoint(path: Path) -> None:
    from skinlesion_cli.models.checkpoint import load_checkpoint

    load_checkpoint(path).description.plain()


@cache
def _checkpoints() -> list[bytes]:
    import torch

    novelty = {"mean": torch.zeros(4), "directions": torch.zeros(4, 2), "noise": 1.0, "limit": 2.0}
    content = {"format": "skinlesion-checkpoint-1", "model": _state(), **_metadata(), "novelty": novelty}
    files = []
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        buffer = io.BytesIO()
        torch.save(content, buffer, **options)
        files.append(buffer.getvalue())
    return files


def _safetensors() -> list[bytes]:
    from safetensors.torch import save

    return [save(_state(), {key: json.dumps(value) for key, value in _metadata().items()}), save(_state())]


def _load_onnx(path: Path) -> None:
    from skinlesion_cli.inference.backend import require_finite
    from skinlesion_cli.inference.onnx_backend import load_onnx

    _, backend = load_onnx(path)
    require_finite(backend.outputs(np.zeros((2, 3, 8, 8), np.uint8)).logits)


def small_onnx(raw: dict[str, str] | None = None, **entries: object) -> bytes:
    """A model with a few nodes and the metadata of an export by this package.

    Args:
        raw: additional metadata entries, stored as they are.
        entries: additional or changed metadata entries, stored as JSON.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from skinlesion_cli.common.files import EXPORT_MARK

    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["floats"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight"], ["logits"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.full((192, 3), 0.01, np.float32), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    metadata = {"format": EXPORT_MARK, **_metadata(), "img_size": 8} | entries
    helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()} | (raw or {}))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _read_toml(path: Path) -> None:
    from skinlesion_cli.common.resolve import resolve
    from skinlesion_cli.common.settings_file import to_toml

    to_toml(resolve({}, config=path, environ={}, dotenv=Path("absent")))


def _read_dotenv(path: Path) -> None:
    from skinlesion_cli.common.resolve import resolve

    resolve({}, environ={}, dotenv=path)


def _read_counts(path: Path) -> None:
    from skinlesion_cli.data.class_balance import balance_table, read_counts

    balance_table(read_counts(path), 0.999, 0.5)


def _read_predictions(path: Path) -> None:
    from skinlesion_cli.metrics.classification import score
    from skinlesion_cli.metrics.predictions import read_predictions

    score(read_predictions(path))


def _read_manifest(path: Path) -> None:
    from skinlesion_cli.curation.groups import read_groups
    from skinlesion_cli.data.manifest import origins_in, origins_of

    for read in (
        lambda: origins_in(path, "test", ["a/1.jpg"]),
        lambda: origins_of(path.parent, "test", [Path("a/1.jpg")]),
        lambda: read_groups(path),
    ):
        _accept_refusal(read)


def _read_run(path: Path) -> None:
    from skinlesion_cli.report.facts import read_run

    results = path.parent / "results"
    results.mkdir(exist_ok=True)
    for name in ("metrics.json", "environment.json", "settings.toml", "history.csv"):
        (results / name).write_bytes(path.read_bytes())
        try:
            _accept_refusal(lambda: read_run(path.parent))
        finally:
            # The next file is read beside valid scores.
            (results / name).write_bytes(_SCORES if name == "metrics.json" else b"")
    for file in results.iterdir():
        file.unlink()
    results.rmdir()


def _accept_refusal(read: Callable[[], object]) -> None:
    try:
        read()
    except SkinLesionError:
        return


def _read_labels(path: Path) -> None:
    from skinlesion_cli.curation.labels import read_labels

    read_labels(path)


def _tokens(text: str) -> tuple[bytes, ...]:
    """Tokens separated by spaces, with the escapes of a Python bytes literal."""
    return tuple(word.encode("latin-1").decode("unicode_escape").encode("latin-1") for word in text.split())


_CELLS = (b"\n", *_tokens(r""", " \r \t ' = - nan 1e999 \xef\xbb\xbf \xff\xfe ../ ;"""))
_ZIP = r"PK\x03\x04 PK\x05\x06 \x80\x02} ( . R ctorch\nTensor\n q\0 U\x05"
_PICKLE = r"( ) } ] t R b Q u e \x85 ctorch\nTensor\n ccollections\nOrderedDict\n c__builtin__\nset\n"
_HEADER = r"""{ } [ " , "data_offsets":[0, "F64" 99999999999 -1 null __metadata__"""
_ONNX = r"\x0a \x12 Loop Expand Reshape location \x6a\x02 \x70\x01"
_TOML = r'''[ ] { = """ nan inf 1979-05-27 99999999999999999999 \\u0000 \xef\xbb\xbf [[a]]'''
_DOTENV = r"""= ' " \\ ${HOME} export SKINLESION_ nan # \n"""

_TOML_FILES = (
    b'epochs = 3\nlearning_rate = 1e-3\ndata_root = "data"\npretrained = false\n',
    b'cache = "off"\n# words\nseed = 0x10\nnum_workers = 2\n',
)
_DOTENV_FILES = (
    b"SKINLESION_EPOCHS=3\nOTHER=x\n# words\nexport SKINLESION_SEED='4'\n",
    b'SKINLESION_DATA_ROOT="a b"\nSKINLESION_LOSS_BETA=0.5\n',
)
_COUNTS = (b'class,count\na,4\n"b, c",3\n', b"count,class\r\n5,x\r\n1,y\r\n")
_PREDICTIONS = (
    b"image,y_true,y_pred,a,b\n1.jpg,a,a,0.7,0.3\n2.jpg,b,a,0.6,0.4\n",
    b"image,y_true,y_pred\n1,x,y\n2,y,y\n",
)
_MANIFESTS = (
    b"split,class,file,group,source\ntest,a,1.jpg,L1,X\ntrain,b,2.jpg,L2,X\n",
    b"lesion_id,image_id,dx\nL1,1,nv\nL2,2,mel\n",
)
_SCORES = json.dumps(
    {
        "best_epoch": 1,
        "epochs": 2,
        "val": dict.fromkeys(sorted(DOCUMENT_KEYS))
        | {"n": 2, "classes": ["a"], "per_class": {"a": {}}, "confusion_matrix": [[2]]},
    }
).encode()
_RUN_FILES = (
    _SCORES,
    b'{"versions": {"torch": "2.6.0"}, "command_line": ["skinlesion", "train"]}',
    b'data_root = "absent"\nepochs = 3\n',
    b"epoch,train_loss,train_accuracy,val_loss,val_accuracy,val_weighted_f1,learning_rate,best\n"
    b"1,1.5,0.5,1.4,0.5,0.5,0.001,True\n",
)
# The second file is the table itself.
_LABEL_FILES = (b"file,label\npicture.jpg,a\ninput.csv,b\n",)


def _image_reader(kind: str, tokens: str) -> Reader:
    name, seeds = kind.lower(), partial(image_seeds, kind)
    wrap = with_checksums if kind == "PNG" else bytes
    return Reader(name, f".{name}", check_image, seeds, _tokens(tokens), wrap)


def _text_reader(
    name: str, suffix: str, read: Callable[[Path], object], files: Sequence[bytes], tokens: Sequence[bytes]
) -> Reader:
    return Reader(name, suffix, read, lambda: list(files), tokens)


READERS: tuple[Reader, ...] = (
    *(_image_reader(kind, tokens) for kind, tokens in TOKENS.items()),
    Reader("pth", ".pth", _load_checkpoint, _checkpoints, _tokens(_ZIP)),
    Reader("safetensors", ".safetensors", _load_checkpoint, _safetensors, _tokens(_HEADER)),
    Reader("pickle", ".pth", _load_checkpoint, _pickles, _tokens(_PICKLE), _in_archive),
    Reader("header", ".safetensors", _load_checkpoint, _headers, _tokens(_HEADER), _with_header),
    Reader("onnx", ".onnx", _load_onnx, lambda: [small_onnx()], _tokens(_ONNX)),
    _text_reader("toml", ".toml", _read_toml, _TOML_FILES, _tokens(_TOML)),
    _text_reader("dotenv", ".env", _read_dotenv, _DOTENV_FILES, _tokens(_DOTENV)),
    _text_reader("counts", ".csv", _read_counts, _COUNTS, _CELLS),
    _text_reader("predictions", ".csv", _read_predictions, _PREDICTIONS, _CELLS),
    _text_reader("manifest", "manifest.csv", _read_manifest, _MANIFESTS, _CELLS),
    _text_reader("run", ".txt", _read_run, _RUN_FILES, (*_CELLS, *_tokens(_TOML))),
    _text_reader("labelled", ".csv", _read_labels, _LABEL_FILES, _CELLS),
)
