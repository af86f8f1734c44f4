"""NPY files as images: one 2-D array of integers each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from wavestream.engine.frame import Frame, Frames, Scan, bounds
from wavestream.engine.limits import Limits
from wavestream.engine.rejection import Reason, Rejected

NPY_SIGNATURE = b"\x93NUMPY"


def scan_npy(path: Path, limits: Limits) -> Scan:
    """Facts about an NPY file; wide integers are read through, because only their values say how many bits they need.

    Raises:
        Rejected: not a 2-D array of integers of at most 16 bits, cut short, or larger than ``limits``.
    """
    pixels = _read(path, limits)
    low, high = bounds(*_bits(pixels))
    return Scan(pixels.shape[0], pixels.shape[1], 1, low, high)


def read_npy(path: Path, limits: Limits) -> Frames:
    """The one image of an NPY file; raises like :func:`scan_npy`."""
    pixels = _read(path, limits)
    bits, signed = _bits(pixels)
    narrow = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    yield Frame(pixels=pixels.astype(narrow), bits_stored=bits, signed=signed)


def _read(path: Path, limits: Limits) -> np.ndarray:
    with path.open("rb") as file:
        shape, fortran_order, dtype = _read_header(file)
        if dtype.kind == "f":
            raise Rejected(Reason.FLOATING_POINT, _floating_point(path, shape, limits))
        if dtype.kind not in "iub":
            raise Rejected(Reason.UNSUPPORTED, f"an array of {dtype.name}; integers are expected")
        if len(shape) != 2:
            raise Rejected(Reason.UNSUPPORTED, f"an array of {len(shape)} dimensions; (rows, columns) are expected")
        limits.check_image(*shape)
        needed = shape[0] * shape[1] * dtype.itemsize
        there = os.fstat(file.fileno()).st_size - file.tell()
        if there < needed:
            raise Rejected(Reason.TRUNCATED, f"the array needs {needed} bytes, {there} are there")
        pixels = np.frombuffer(file.read(needed), dtype)
    return pixels.reshape(shape, order="F" if fortran_order else "C")


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran_order, dtype = read(file)
    except (ValueError, KeyError, TypeError, SyntaxError):
        raise Rejected(Reason.DAMAGED, "the NPY header cannot be read") from None
    if dtype.hasobject:
        raise Rejected(Reason.UNSUPPORTED, "an array of Python objects")
    return shape, fortran_order, dtype


def _floating_point(path: Path, shape: tuple[int, ...], limits: Limits) -> str:
    """What to say about an array of floats: whether it also holds NaN or infinity, which no integer could express."""
    if int(np.prod(shape, dtype=np.float64)) > limits.max_pixels:
        return "integers are expected"
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError):
        return "integers are expected"
    broken = int(values.size - np.count_nonzero(np.isfinite(values)))
    return f"{broken} of them NaN or infinite; integers are expected" if broken else "integers are expected"


def _bits(pixels: np.ndarray) -> tuple[int, bool]:
    """Bits and signedness that hold the values: those of the dtype up to 16 bits, else 8 or 16 as the values need."""
    if pixels.dtype.kind == "b":
        return 1, False
    if pixels.dtype.itemsize <= 2:
        return 8 * pixels.dtype.itemsize, pixels.dtype.kind == "i"
    low, high = int(pixels.min()), int(pixels.max())
    for bits, signed in ((8, False), (16, False), (16, True)):
        if bounds(bits, signed)[0] <= low and high <= bounds(bits, signed)[1]:
            return bits, signed
    raise Rejected(Reason.TOO_DEEP, f"values from {low} to {high}")
