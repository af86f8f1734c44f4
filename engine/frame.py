"""What the readers of DICOM, PNG, JPEG and NPY hand over: the facts of a file, and its images one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Note(StrEnum):
    """Something done to an image, or true of it, that the ingest summary counts; the value names the count."""

    COLOUR = "colour_converted"
    INVERTED = "monochrome1"
    MODALITY_LUT = "modality_lut_applied"
    VOI_LUT = "voi_lut_used_as_window"
    FULL_RANGE = "window_from_pixels"
    SLOPE_REPAIRED = "rescale_repaired"
    MULTI_FRAME = "multi_frame"


@dataclass(frozen=True, slots=True)
class Scan:
    """What a header says about one file, before any pixel is decoded.

    Attributes:
        rows, cols, frames: size of each image in pixels, and number of images.
        low, high: bounds of the integers that decoding yields.
        patient: patient ID as written in the file, or None. Never stored.
        series: SHA-256 of the series UID, or None. Never stored.
        instance: instance number, or None.
        along: place of the image along the normal of its plane, in mm, or None.
    """

    rows: int
    cols: int
    frames: int
    low: int
    high: int
    patient: str | None = None
    series: bytes | None = None
    instance: int | None = None
    along: float | None = None


@dataclass(frozen=True)
class Frame:
    """One decoded image.

    Attributes:
        pixels: integers (rows, cols), as stored in the file.
        bits_stored: bits per pixel.
        signed: whether those bits are two's complement.
        slope, intercept: modality value = pixel * slope + intercept.
        window: (centre, width) in modality units, or None where the file has none.
        function: DICOM VOI LUT function of the window.
        notes: what was done to it.
    """

    pixels: np.ndarray
    bits_stored: int
    signed: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    window: tuple[float, float] | None = None
    function: str = "LINEAR"
    notes: frozenset[Note] = frozenset()


Frames = Iterator[Frame]


def bounds(bits: int, signed: bool) -> tuple[int, int]:
    """Lowest and highest integer of ``bits`` bits."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def luma(red_green_blue: np.ndarray) -> np.ndarray:
    """Luma of an RGB image.

    Args:
        red_green_blue: ``uint8`` or ``uint16`` (rows, cols, 3).

    Returns:
        (rows, cols) of the same dtype: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601) in 16-bit fixed point, rounded,
        the same integers as Pillow's ``convert("L")`` for 8 bits.
    """
    if red_green_blue.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"expected uint8 or uint16 samples, got {red_green_blue.dtype}")
    total = red_green_blue[..., 0].astype(np.uint32) * np.uint32(19595)
    total += red_green_blue[..., 1].astype(np.uint32) * np.uint32(38470)
    total += red_green_blue[..., 2].astype(np.uint32) * np.uint32(7471)
    total += np.uint32(0x8000)
    return (total >> np.uint32(16)).astype(red_green_blue.dtype)
