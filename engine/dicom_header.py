"""The image description of a DICOM header, checked before anything is decoded."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from wavestream.engine.limits import Limits
from wavestream.engine.rejection import Reason, Rejected

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_PALETTE = "PALETTE COLOR"


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The Image Pixel module (PS3.3 C.7.6.3) of a file that passed its checks."""

    rows: int
    cols: int
    frames: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: int

    @property
    def inverted(self) -> bool:
        """Whether the lowest value is shown white."""
        return self.photometric == "MONOCHROME1"

    @property
    def palette(self) -> bool:
        """Whether pixels are indexes into a colour palette."""
        return self.photometric == _PALETTE

    @property
    def frame_bits(self) -> int:
        """Bits of one frame, uncompressed."""
        bits = self.rows * self.cols * self.samples * self.bits_allocated
        return bits // 3 * 2 if self.photometric == "YBR_FULL_422" else bits


def read_image_header(header: Dataset, limits: Limits) -> ImageHeader:
    """The image description of ``header``; raise :class:`Rejected` where it is incomplete, absurd or not supported."""
    rows, cols = _required(header, "Rows"), _required(header, "Columns")
    frames = whole_number(header, "NumberOfFrames") or 1  # some writers put 0 for a single frame
    limits.check_image(rows, cols, frames)
    samples = whole_number(header, "SamplesPerPixel") or 1
    photometric = str(header.get("PhotometricInterpretation") or "").strip()
    if photometric not in (*_GREY, *_COLOUR, _PALETTE):
        raise Rejected(Reason.UNSUPPORTED, "photometric interpretation other than grey, RGB, YBR or palette")
    if samples != (3 if photometric in _COLOUR else 1):
        raise Rejected(Reason.CONTRADICTORY, f"{samples} samples per pixel as {photometric}")
    allocated = _required(header, "BitsAllocated")
    stored = whole_number(header, "BitsStored")
    stored = allocated if stored is None else stored
    if not 1 <= stored <= allocated:
        raise Rejected(Reason.CONTRADICTORY, f"{stored} bits stored in {allocated} allocated")
    if stored > 16:
        raise Rejected(Reason.TOO_DEEP, f"{stored} bits")
    if allocated not in (1, 8, 16, 32):
        raise Rejected(Reason.UNSUPPORTED, f"{allocated} bits allocated")
    signed = whole_number(header, "PixelRepresentation") or 0
    if signed not in (0, 1):
        raise Rejected(Reason.CONTRADICTORY, f"pixel representation {signed}")
    if signed and samples > 1:
        raise Rejected(Reason.UNSUPPORTED, "signed colour")
    return ImageHeader(
        rows=rows,
        cols=cols,
        frames=frames,
        samples=samples,
        photometric=photometric,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=bool(signed),
        planar=whole_number(header, "PlanarConfiguration") or 0,
    )


def element(header: Dataset, keyword: str) -> Any:
    """The value of an element, or None where it is absent, empty, or cannot be converted to its type."""
    try:
        value = header.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom converts on access and raises whatever its converter raises
        return None
    return None if value is None or value == "" else value


def whole_number(header: Dataset, keyword: str) -> int | None:
    """The integer in an element, or None where it is absent; :class:`Rejected` where it is something else."""
    if keyword not in header:
        return None
    value = element(header, keyword)
    try:
        return None if value is None and header[keyword].is_empty else int(value)
    except Exception:  # noqa: BLE001 - as above; the value is not quoted, it could be anything
        raise Rejected(Reason.CONTRADICTORY, f"{keyword} is not a number") from None


def first_number(header: Dataset, keyword: str) -> float | None:
    """The first finite number in an element, or None."""
    value = element(header, keyword)
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _required(header: Dataset, keyword: str) -> int:
    value = whole_number(header, keyword)
    if value is None:
        raise Rejected(Reason.CONTRADICTORY, f"pixel data but no {keyword}")
    return value


def series_digest(header: Dataset) -> bytes | None:
    """SHA-256 of the series UID, or None; enough to tell series apart without keeping the UID."""
    uid = str(element(header, "SeriesInstanceUID") or "").strip()
    return hashlib.sha256(uid.encode()).digest() if uid else None


def distance_along_normal(header: Dataset) -> float | None:
    """Place of the image along the normal of its plane in mm (PS3.3 C.7.6.2.1.1), or None where it is not stated."""
    try:
        corner = np.asarray(element(header, "ImagePositionPatient"), dtype=np.float64)
        axes = np.asarray(element(header, "ImageOrientationPatient"), dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if corner.shape != (3,) or axes.shape != (6,) or not (np.isfinite(corner).all() and np.isfinite(axes).all()):
        return None
    return float(np.dot(corner, np.cross(axes[:3], axes[3:])))
