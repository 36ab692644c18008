"""Files by the encoders of phones and of clinics, and whether these are installed."""

import io
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from PIL import Image

HEIC = find_spec("pillow_heif") is not None
DICOM = find_spec("pydicom") is not None
needs_heic = pytest.mark.skipif(not HEIC, reason="pillow-heif is not installed: pip install '.[heic]'")
needs_dicom = pytest.mark.skipif(not DICOM, reason="pydicom is not installed: pip install '.[dicom]'")


def turned(orientation: int) -> bytes:
    """EXIF data with an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def heic(image: Image.Image, **options: Any) -> bytes:
    """A HEIC file; the options are those of pillow-heif."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    image.save(buffer, "HEIF", **options)
    return buffer.getvalue()


def avif(image: Image.Image, **options: Any) -> bytes:
    """An AVIF file; the options are those of Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, "AVIF", **options)
    return buffer.getvalue()


def dicom(
    pixels: np.ndarray, kind: str, bits: int = 8, *, syntax: str = "", frame: bytes = b"", **elements: Any
) -> bytes:
    """A DICOM file of one frame, of a photometric interpretation.

    It is compressed in a transfer `syntax`: by pydicom, or `frame` is the compressed picture. The elements
    are further entries, None for one to be left out.
    """
    from pydicom import uid
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.pixels import set_pixel_data

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.SecondaryCaptureImageStorage, "1.2.3.4"
    written = (
        kind if kind in ("RGB", "YBR_FULL", "MONOCHROME1") else "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    )
    set_pixel_data(dataset, np.ascontiguousarray(pixels), written, bits)
    dataset.PhotometricInterpretation = kind
    if frame:
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = getattr(uid, syntax)
    elif syntax:
        dataset.compress(getattr(uid, syntax))
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
