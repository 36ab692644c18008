"""Which files are images, by their names. No Pillow here: tables and folders are listed without it."""

from pathlib import Path

JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
IMAGE_SUFFIXES = (
    JPEG_SUFFIXES
    | HEIF_SUFFIXES
    | DICOM_SUFFIXES
    | {".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif"}
)
UNREAD_SUFFIXES = frozenset(
    {".jxl", ".jp2", ".j2k", ".jpf", ".jpx"}
    | {".dng", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".svs", ".ndpi", ".psd"}
)
"""Suffixes of images that this tool does not read."""


def has_image_suffix(path: Path) -> bool:
    """Whether the file has the suffix of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_table_name(path: Path) -> bool:
    """Whether a name is that of a table; `is_table` tells whether a data set is one."""
    return path.suffix.lower() == ".csv"
