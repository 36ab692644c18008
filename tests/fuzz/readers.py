"""Every reader of a file from elsewhere: how it is called, valid files to start from, words of its format."""

import functools
import io
import json
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from skinlesion_cli.common.errors import SkinLesionError
from skinlesion_cli.curation.synthetic import draw_lesion
from skinlesion_cli.report.facts import DOCUMENT_KEYS

CLASSES = ["a", "b", "c"]
LONGEST_MESSAGE = 10_000


@dataclass(frozen=True)
class Reader:
    """Something that reads a file. It returns, or raises a SkinLesionError of one idea; nothing else."""

    name: str
    suffix: str
    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]
    tokens: Sequence[bytes] = field(default=())
    wrap: Callable[[bytes], bytes] = bytes
    """Makes the file of what is damaged: puts it where checksums and lengths would keep damage out."""


def fault_of_reading(reader: Reader, path: Path) -> tuple[str, bool]:
    """What a reader did that it must not do (an empty text: nothing), and whether it refused the file."""
    fault, refused = "", False
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            reader.read(path)
        except SkinLesionError as error:
            refused = True
            if len(str(error)) > LONGEST_MESSAGE:
                fault = f"a message of {len(str(error))} characters"
        except Exception as error:
            fault = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return fault or (f"warning: {str(warned[0].message)[:200]}" if warned else ""), refused


def _read_image(path: Path) -> None:
    from skinlesion_cli.data.images import read_image, stored_kind, upright_size

    size = upright_size(path)
    stored_kind(path)
    small = upright_size(path, shorter=16)
    assert read_image(path, shorter=16).size == small
    image = read_image(path)
    assert image.mode == "RGB"
    assert image.size == size


def _images(kind: str) -> list[bytes]:
    lesion = draw_lesion("synthetic ring", 1).resize((40, 30))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 300, zip=True)
    text.add_itxt("Title", "y" * 50, zip=True)
    saves: dict[str, list[tuple[Image.Image, dict[str, object]]]] = {
        "JPEG": [
            (lesion, {"exif": exif}),
            (lesion, {"progressive": True, "comment": b"words"}),
            (lesion.convert("L"), {}),
            (lesion.convert("CMYK"), {}),
        ],
        "PNG": [
            (lesion, {"pnginfo": text, "exif": exif, "icc_profile": b"\0" * 200}),
            (lesion.convert("RGBA"), {}),
            (lesion.convert("P"), {"transparency": 3}),
            (Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)), {}),
            (lesion, {"save_all": True, "append_images": [lesion.rotate(90)]}),
        ],
        "TIFF": [
            (lesion, {}),
            (lesion, {"compression": "tiff_lzw", "exif": exif}),
            (lesion, {"compression": "tiff_deflate"}),
            (lesion, {"compression": "jpeg"}),
            (lesion.convert("1"), {"compression": "group4"}),
            (lesion, {"save_all": True, "append_images": [lesion]}),
            (lesion, {"big_tiff": True}),
        ],
        "WEBP": [
            (lesion, {"exif": exif}),
            (lesion.convert("RGBA"), {"lossless": True}),
            (lesion, {"save_all": True, "append_images": [lesion.rotate(90)]}),
        ],
        "GIF": [
            (lesion, {}),
            (lesion, {"save_all": True, "append_images": [lesion.rotate(9)], "transparency": 1}),
        ],
        "BMP": [(lesion, {}), (lesion.convert("P"), {}), (lesion.convert("1"), {})],
    }
    files = []
    for image, options in saves[kind]:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        files.append(buffer.getvalue())
    return files


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums that they should have, as far as it has chunks."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + length]
        if length > len(data):
            break
        parts += [data[at : at + 4], body, zlib.crc32(body).to_bytes(4, "big")]
        at += 12 + length
    return b"".join(parts) + data[at:]


def _in_archive(plain: bytes) -> bytes:
    """A zip as torch writes it, with this pickle among the tensors of `_checkpoints`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_checkpoints()[0])) as whole, zipfile.ZipFile(buffer, "w") as file:
        for name in whole.namelist():
            file.writestr(name, plain if name.endswith("data.pkl") else whole.read(name))
    return buffer.getvalue()


def _plain_parts() -> list[bytes]:
    with zipfile.ZipFile(io.BytesIO(_checkpoints()[0])) as file:
        return [file.read(name) for name in file.namelist() if name.endswith("data.pkl")]


def _headed(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + bytes(60)


def _headers() -> list[bytes]:
    return [data[8 : 8 + int.from_bytes(data[:8], "little")] for data in _safetensors()]


def _state() -> dict[str, object]:
    import torch

    names = ("stem.conv.weight", "head.fc.weight", "head.fc.bias")
    return {name: torch.arange(6.0).reshape(3, 2) if "bias" not in name else torch.ones(3) for name in names}


def _known() -> dict[str, object]:
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


@functools.cache
def _checkpoints() -> list[bytes]:
    import torch

    novelty = {"mean": torch.zeros(4), "directions": torch.zeros(4, 2), "noise": 1.0, "limit": 2.0}
    content = {"format": "skinlesion-checkpoint-1", "model": _state(), **_known(), "novelty": novelty}
    files = []
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        buffer = io.BytesIO()
        torch.save(content, buffer, **options)
        files.append(buffer.getvalue())
    return files


def _safetensors() -> list[bytes]:
    from safetensors.torch import save

    return [save(_state(), {key: json.dumps(value) for key, value in _known().items()}), save(_state())]


def _load_onnx(path: Path) -> None:
    from skinlesion_cli.inference.backend import require_finite
    from skinlesion_cli.inference.onnx_backend import load_onnx

    _, backend = load_onnx(path)
    require_finite(backend.outputs(np.zeros((2, 3, 8, 8), np.uint8)).logits)


def small_onnx(raw: dict[str, str] | None = None, **entries: object) -> bytes:
    """A model of a few nodes that describes itself as an export of this tool does.

    Args:
        raw: entries of the description as they are to stand in the file.
        entries: other entries, or others' values, written as JSON.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from skinlesion_cli.inference.onnx_backend import FORMAT

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
    known = {"format": FORMAT, **_known(), "img_size": 8} | entries
    helper.set_model_props(model, {key: json.dumps(value) for key, value in known.items()} | (raw or {}))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _read_toml(path: Path) -> None:
    from skinlesion_cli.common.resolve import resolve
    from skinlesion_cli.common.settings import to_toml

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
        _or_refused(read)


def _read_run(path: Path) -> None:
    from skinlesion_cli.report.facts import read_run

    results = path.parent / "results"
    results.mkdir(exist_ok=True)
    for name in ("metrics.json", "environment.json", "settings.toml", "history.csv"):
        (results / name).write_bytes(path.read_bytes())
        try:
            _or_refused(lambda: read_run(path.parent))
        finally:
            # What stands there next is read with valid scores beside it.
            (results / name).write_bytes(_SCORES if name == "metrics.json" else b"")
    for file in results.iterdir():
        file.unlink()
    results.rmdir()


def _or_refused(read: Callable[[], object]) -> None:
    try:
        read()
    except SkinLesionError:
        return


def _read_labelled(path: Path) -> None:
    from skinlesion_cli.curation.labels import read_labels

    read_labels(path)


def _words(text: str) -> tuple[bytes, ...]:
    """Words between blanks, written as Python writes bytes."""
    return tuple(word.encode("latin-1").decode("unicode_escape").encode("latin-1") for word in text.split())


_CELLS = (b"\n", *_words(r""", " \r \t ' = - nan 1e999 \xef\xbb\xbf \xff\xfe ../ ;"""))
_IMAGES = {
    "JPEG": r"\xff\xd8 \xff\xc0\0\x11\x08\xff\xff \xff\xdb \xff\xc4 \xff\xda \xff\xe1 Exif\0\0 \xff\xe2MPF\0",
    "PNG": "IHDR IDAT PLTE tRNS iCCP zTXt iTXt acTL fcTL fdAT eXIf",
    "TIFF": r"II*\0 MM\0* II+\0 \x42\x01 \x44\x01 \x15\x01 \x03\x01",
    "WEBP": "RIFF WEBP VP8L VP8X ANIM ANMF ALPH EXIF",
    "GIF": r"GIF89a !\xf9\x04 , ; !\xff\x0bNETSCAPE2.0",
    "BMP": r"BM \x28\0\0\0 \x7c\0\0\0 \x0c\0\0\0 \x01\0\x08\0",
}
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
_LABELLED = (b"file,label\npicture.jpg,a\npicture.jpg,b\n",)


def _image_reader(kind: str, words: str) -> Reader:
    wrap = _with_checksums if kind == "PNG" else bytes
    return Reader(kind.lower(), f".{kind.lower()}", _read_image, lambda: _images(kind), _words(words), wrap)


def _text_reader(
    name: str, suffix: str, read: Callable[[Path], object], files: Sequence[bytes], words: Sequence[bytes]
) -> Reader:
    return Reader(name, suffix, read, lambda: list(files), words)


READERS: tuple[Reader, ...] = (
    *(_image_reader(kind, words) for kind, words in _IMAGES.items()),
    Reader("pth", ".pth", _load_checkpoint, _checkpoints, _words(_ZIP)),
    Reader("safetensors", ".safetensors", _load_checkpoint, _safetensors, _words(_HEADER)),
    Reader("pickle", ".pth", _load_checkpoint, _plain_parts, _words(_PICKLE), _in_archive),
    Reader("header", ".safetensors", _load_checkpoint, _headers, _words(_HEADER), _headed),
    Reader("onnx", ".onnx", _load_onnx, lambda: [small_onnx()], _words(_ONNX)),
    _text_reader("toml", ".toml", _read_toml, _TOML_FILES, _words(_TOML)),
    _text_reader("dotenv", ".env", _read_dotenv, _DOTENV_FILES, _words(_DOTENV)),
    _text_reader("counts", ".csv", _read_counts, _COUNTS, _CELLS),
    _text_reader("predictions", ".csv", _read_predictions, _PREDICTIONS, _CELLS),
    _text_reader("manifest", "manifest.csv", _read_manifest, _MANIFESTS, _CELLS),
    _text_reader("run", ".txt", _read_run, _RUN_FILES, (*_CELLS, *_words(_TOML))),
    _text_reader("labelled", ".csv", _read_labelled, _LABELLED, _CELLS),
)
