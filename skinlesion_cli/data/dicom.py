"""Single-frame DICOM files, as Pillow images. Imported only if pydicom is installed.

The grey values are displayed as the standard specifies: rescaled (PS3.3 C.11.1), mapped with the first VOI
window or VOI table (C.11.2), and inverted for MONOCHROME1. Colours are converted to RGB.
"""

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from pydicom import Dataset, dcmread, uid
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array

from skinlesion_cli.data.colour import depth_of, upper_8_bits

MAGIC = b"DICM"
"""After a preamble of 128 bytes."""
MAX_PIXEL_BYTES = 512 << 20
"""Decoded: 120 million pixels of 8-bit colours have 360 MB. Decoding takes three times as much."""
MAX_RLE_BYTES = 32 << 20
"""Run-length encoded pixels can become 64 times as large."""
_HEADER = [
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ICCProfile",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    *(
        f"{kind}{colour}PaletteColorLookupTable{part}"
        for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
        for colour in ("Red", "Green", "Blue")
    ),
]
_GREYS = ("MONOCHROME1", "MONOCHROME2")


class DicomImage(ImageFile.ImageFile):
    """A DICOM file; its header is read when it is opened, and its pixels when it is loaded."""

    format = "DICOM"

    def _open(self) -> None:
        assert self.fp is not None
        header = _read(self.fp, pixels=False)
        self._size = int(header.Columns), int(header.Rows)
        self._mode = "L" if header.PhotometricInterpretation in _GREYS else "RGB"
        if self._mode == "RGB" and header.get("ICCProfile"):
            self.info["icc_profile"] = bytes(header.ICCProfile)
        self.tile = []

    def load(self) -> Any:
        """Decode the pixels."""
        if self._im is None and self.fp is not None:
            dataset = _read(self.fp, pixels=True)
            shown = _greys(dataset) if self._mode == "L" else _colours(dataset)
            self.im = Image.fromarray(shown).im
            self._size = self.im.size
        return super().load()


def _read(file: Any, *, pixels: bool) -> Dataset:
    """The part of a file that the image depends on; ValueError if there is not exactly one image."""
    _refuse_deflated(file)
    file.seek(0)
    tags: list[Any] = [*_HEADER, "PixelData"] if pixels else list(_HEADER)
    dataset = dcmread(file, stop_before_pixels=not pixels, specific_tags=tags)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ValueError(f"it has {frames} frames; save the one to be read as a separate DICOM file")
    if not dataset.get("Rows") or not dataset.get("Columns") or "PhotometricInterpretation" not in dataset:
        raise ValueError("a DICOM without an image")
    bits = (
        int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel) * int(dataset.BitsAllocated)
    )
    # Larger ones than any image may be are reported by the general limit.
    if bits > 8 * MAX_PIXEL_BYTES and pixels:
        raise ValueError(f"its pixels take more than {MAX_PIXEL_BYTES >> 20} MiB; save it with 8 bits")
    if pixels and "PixelData" not in dataset:
        raise ValueError("a DICOM without pixels, or truncated")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not _decodes(syntax):
        raise ValueError(
            f"its pixels are compressed as {syntax.name}, which is not decoded here; "
            "decompress it first, for example with dcmdjpeg of DCMTK or gdcmconv --raw"
        )
    if pixels and syntax == uid.RLELossless and len(dataset.PixelData) > MAX_RLE_BYTES:
        raise ValueError(f"more than {MAX_RLE_BYTES >> 20} MiB of run-length encoded pixels")
    return dataset


def _refuse_deflated(file: BinaryIO) -> None:
    """Refuse a file whose whole content is compressed: it could become any size when it is opened."""
    file.seek(128 + len(MAGIC))
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
        raise ValueError("a deflated DICOM is not read; save it in another transfer syntax")


def _decodes(syntax: uid.UID) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _colours(dataset: Dataset) -> NDArray[np.uint8]:
    """(height, width, 3): RGB."""
    values = pixel_array(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
    if values.ndim != 3 or values.shape[2] != 3:
        raise ValueError(f"its photometric interpretation {dataset.PhotometricInterpretation} is not read")
    return upper_8_bits(values)


def _greys(dataset: Dataset) -> NDArray[np.uint8]:
    """(height, width): 0 is black."""
    stored = pixel_array(dataset)
    if stored.ndim != 2:
        raise ValueError(
            f"{dataset.SamplesPerPixel} samples per pixel do not fit its photometric interpretation"
        )
    lowest, highest = _range(stored, dataset)
    steps = np.arange(lowest, highest + 1)
    table = np.rint(255 * _display(steps, dataset)).astype(np.uint8)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        table = 255 - table
    shown: NDArray[np.uint8] = table[np.clip(stored, lowest, highest).astype(np.int32) - lowest]
    return shown


def _range(stored: NDArray[Any], dataset: Dataset) -> tuple[int, int]:
    """The stored values from black to white."""
    bits = int(dataset.BitsStored)
    if not 1 <= bits <= 16:
        raise ValueError(f"{bits} bits per pixel have no known range")
    if dataset.PixelRepresentation == 1:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if not _has_display(dataset):
        # As in other formats, 12 bits may be stored in 16 without saying so.
        bits = min(bits, depth_of(int(stored.max())))
    return 0, 2**bits - 1


def _has_display(dataset: Dataset) -> bool:
    return bool(dataset.get("VOILUTSequence")) or dataset.get("WindowWidth") is not None


def _display(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.float64]:
    """The brightness, in [0, 1], of all stored values in ascending order."""
    values = apply_modality_lut(stored, dataset)
    if tables := dataset.get("VOILUTSequence"):
        shown = apply_voi(values, dataset) / (2.0 ** int(tables[0].LUTDescriptor[2]) - 1)
    elif _has_display(dataset):
        shown = _windowed(values.astype(np.float64), dataset)
    else:
        shown = (values - values.min()) / max(float(values.max() - values.min()), 1e-9)
    return np.nan_to_num(shown).clip(0.0, 1.0)


def _windowed(values: NDArray[np.float64], dataset: Dataset) -> NDArray[np.float64]:
    """Values in the first window: 0 at its lower and 1 at its upper end (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    centre, width = (_first(dataset[name].value) for name in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID") or not width >= (function == "LINEAR"):
        raise ValueError(f"its window is invalid (width {width:g}, {function})")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / max(width, 1e-9), -700, 700)))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    return (values - centre) / max(width, 1e-9) + 0.5


def _first(value: Any) -> float:
    """The first of one or several numbers."""
    return float(value[0] if isinstance(value, list) or hasattr(value, "append") else value)
