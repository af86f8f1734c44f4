"""Thresholded wavelet coefficients as bytes: how small a compression level really gets, measured by doing it.

The bytes hold the positions and values of the coefficients that are not zero, and what is needed to get them back.
Position gaps and values are split into byte planes (the bytes of equal significance side by side) and compressed with
zstd. An image codec of the same coefficients would need fewer bytes: this is an upper bound.
"""

from __future__ import annotations

import struct

import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

ZSTD = Zstd(level=3, checksum=False)
HEADER = struct.Struct("<III")  # coefficients in all, coefficients that are not zero, bytes of the packed gaps


def pack_sparse(coefficients: NDArray[np.int32]) -> bytes:
    """Coefficients ``(size,)`` int32, most of them 0, as bytes."""
    places = np.flatnonzero(coefficients).astype(np.uint32)
    values = coefficients[places]
    gaps = np.diff(places, prepend=np.uint32(0))
    zigzag = ((values << 1) ^ (values >> 31)).astype(np.uint32)
    packed = bytes(ZSTD.encode(_planes(gaps)))
    return HEADER.pack(coefficients.size, places.size, len(packed)) + packed + bytes(ZSTD.encode(_planes(zigzag)))


def unpack_sparse(content: bytes) -> NDArray[np.int32]:
    """The coefficients ``(size,)`` int32 that :func:`pack_sparse` was given."""
    size, count, length = HEADER.unpack_from(content)
    body = content[HEADER.size :]
    if not count:
        return np.zeros(size, np.int32)
    places = np.cumsum(_from_planes(body[:length], count), dtype=np.int64)
    zigzag = _from_planes(body[length:], count)
    coefficients = np.zeros(size, np.int32)
    coefficients[places] = (zigzag >> 1).astype(np.int32) ^ -(zigzag & 1).astype(np.int32)
    return coefficients


def _planes(values: NDArray[np.uint32]) -> bytes:
    return values.astype("<u4").view(np.uint8).reshape(-1, 4).T.tobytes()


def _from_planes(content: bytes, count: int) -> NDArray[np.uint32]:
    planes = np.frombuffer(ZSTD.decode(content), np.uint8).reshape(4, count)
    return np.ascontiguousarray(planes.T).view("<u4").reshape(count)
