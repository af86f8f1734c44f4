"""What the worker processes of an ingest do: tell file formats apart, scan headers, and turn files into chunks."""

from __future__ import annotations

import hashlib
import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wavestream.engine.dicom import read_dicom, scan_dicom
from wavestream.engine.dicom_file import looks_like_dicom
from wavestream.engine.frame import Frame, Note, Scan, bounds
from wavestream.engine.limits import Limits
from wavestream.engine.numpy_file import NPY_SIGNATURE, read_npy, scan_npy
from wavestream.engine.pixel_codecs import Canvas, PixelCodec
from wavestream.engine.rasters import JPEG_SIGNATURE, PNG_SIGNATURE, read_raster, scan_raster
from wavestream.engine.rejection import Reason, Rejected, Rejection, rejecting
from wavestream.engine.schema import VOI_FUNCTIONS

_SCANNERS = {"dicom": scan_dicom, "npy": scan_npy, "raster": scan_raster}
_READERS = {"dicom": read_dicom, "npy": read_npy, "raster": read_raster}

Row = dict[str, Any]
"""One image's share of the table as JSON types; columns of more than one number per image are their little-endian
bytes in hexadecimal; ``notes`` beside the columns of the schema."""


@dataclass(frozen=True)
class Decoded:
    """The images of one file: table rows, and the lengths in bytes of their chunks, one after another in ``spool``."""

    spool: Path
    rows: list[Row]
    lengths: list[int]


def scan(path: Path, limits: Limits, codec: PixelCodec) -> Scan | Rejection:
    """Facts about one file from its header, or why it will not be stored."""
    return rejecting(_scan, path, limits, codec)


def decode(path: Path, limits: Limits, canvas: Canvas, codec: PixelCodec, spool: Path) -> Decoded | Rejection:
    """Decode all images of one file and write their chunks to the file ``spool``, or say why it will not be stored.

    One image is in memory at a time. A file is stored whole or not at all.
    """
    decoded = rejecting(_decode, path, limits, canvas, codec, spool)
    if isinstance(decoded, Rejection) and spool.exists():
        spool.unlink()
    return decoded


def _scan(path: Path, limits: Limits, codec: PixelCodec) -> Scan:
    found = _SCANNERS[_kind(path)](path, limits)
    codec.check(found)
    return found


def _kind(path: Path) -> str:
    """Format by content; names and suffixes lie."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise Rejected(Reason.NOT_AN_IMAGE, "not a regular file")
    with path.open("rb") as file:
        head = file.read(132)
    if not head:
        raise Rejected(Reason.NOT_AN_IMAGE, "empty file")
    if looks_like_dicom(head):
        return "dicom"
    if head.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)):
        return "raster"
    if head.startswith(NPY_SIGNATURE):
        return "npy"
    raise Rejected(Reason.NOT_AN_IMAGE, "neither DICOM nor PNG, JPEG or NPY")


def _decode(path: Path, limits: Limits, canvas: Canvas, codec: PixelCodec, spool: Path) -> Decoded:
    with path.open("rb") as file:
        source_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    rows: list[Row] = []
    lengths: list[int] = []
    with _writing():
        chunks = spool.open("wb")
    with chunks:
        for frame in _READERS[_kind(path)](path, limits):
            pixels = _fit(frame.pixels, canvas)
            row = {**_row(frame, pixels), "source_sha256": source_sha256}
            chunk, ends = codec.encode(pixels, (row["value_low"], row["value_high"]), canvas)
            if ends is not None:
                row["layer_ends"] = ends.astype("<u4").tobytes().hex()
            with _writing():
                chunks.write(chunk)
                chunks.flush()
            lengths.append(len(chunk))
            rows.append(row)
    return Decoded(spool, rows, lengths)


@contextmanager
def _writing() -> Iterator[None]:
    """Tell a full disk from an input that cannot be read."""
    try:
        yield
    except OSError as error:
        raise Rejected(Reason.UNWRITABLE, error.strerror or type(error).__name__) from None


def _fit(pixels: np.ndarray, canvas: Canvas) -> np.ndarray:
    """The pixels as little-endian integers of the store's dtype, if the canvas planned from the header holds them."""
    dtype = np.dtype(canvas.dtype)
    if pixels.shape[0] > canvas.rows or pixels.shape[1] > canvas.cols:
        raise Rejected(Reason.CONTRADICTORY, "the decoded image is larger than its header says")
    low, high = int(pixels.min()), int(pixels.max())
    if low < np.iinfo(dtype).min or high > np.iinfo(dtype).max:
        raise Rejected(Reason.CONTRADICTORY, f"values from {low} to {high} do not fit the {dtype} of the store")
    return np.ascontiguousarray(pixels, dtype=dtype.newbyteorder("<"))


def _row(frame: Frame, pixels: np.ndarray) -> Row:
    low, high = int(pixels.min()), int(pixels.max())
    floor, ceiling = bounds(frame.bits_stored, frame.signed)
    notes = set(frame.notes)
    if frame.window is None:
        notes.add(Note.FULL_RANGE)
        center, width = _span(low, high, frame.slope, frame.intercept)
        function = "FULL_RANGE"
    else:
        (center, width), function = frame.window, frame.function
    if not all(map(math.isfinite, (frame.slope, frame.intercept, center, width))):
        raise Rejected(Reason.CONTRADICTORY, "rescale or window are not finite")
    return {
        "rows": pixels.shape[0],
        "cols": pixels.shape[1],
        "slope": frame.slope,
        "intercept": frame.intercept,
        "window_center": center,
        "window_width": width,
        "voi_function": VOI_FUNCTIONS.index(function),
        "bits_stored": frame.bits_stored,
        "value_low": min(low, floor),
        "value_high": max(high, ceiling),
        "inverted": int(Note.INVERTED in notes),
        "pixel_sha256": hashlib.sha256(pixels.data).hexdigest(),
        "notes": sorted(notes),
    }


def _span(low: int, high: int, slope: float, intercept: float) -> tuple[float, float]:
    """Centre and width in modality units of the window whose edges are the lowest and highest pixel."""
    return (low + high) / 2 * slope + intercept, (high - low) * abs(slope)
