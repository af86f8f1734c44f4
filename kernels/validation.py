"""Checks of what callers hand to the kernels: each either returns the argument in one plain form or raises.

Errors are ValueError, and TypeError for a wrong kind or dtype. They name the samples by their index in the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavestream.kernels.arrays import is_cuda, plain, require_contiguous
from wavestream.kernels.wavelets import INTEGER_WAVELET, default_levels, max_levels

PIXEL_DTYPES = tuple(np.dtype(name) for name in ("uint8", "uint16", "int16", "int32", "float16", "float32"))

# float32 holds every integer up to here; the kernels compute integer images in float32 (int32 for cdf53).
LARGEST_PIXEL = 2**24

_NAMED_SAMPLES = 8


def name_samples(indices: ArrayLike) -> str:
    """``"sample 3"`` or ``"samples 1, 2, 5 and 40 more"``, for error messages."""
    found = [int(index) for index in np.atleast_1d(indices)]
    listed = ", ".join(str(index) for index in found[:_NAMED_SAMPLES])
    more = f" and {len(found) - _NAMED_SAMPLES} more" if len(found) > _NAMED_SAMPLES else ""
    return f"sample{'s' if len(found) > 1 else ''} {listed}{more}"


def check_pixel_dtype(dtype: np.dtype[Any], wavelet: str) -> None:
    """Raise TypeError unless images of ``dtype`` can be transformed with ``wavelet``."""
    if dtype not in PIXEL_DTYPES:
        names = ", ".join(known.name for known in PIXEL_DTYPES)
        raise TypeError(f"images: expected one of {names} in native byte order, got {dtype!s}; convert with astype()")
    if wavelet == INTEGER_WAVELET and dtype.kind == "f":
        raise TypeError(
            f"images: {INTEGER_WAVELET} is an integer wavelet and expects uint8, uint16, int16 or int32, got {dtype}; "
            "pass the stored integers, or use a float wavelet such as bior4.4"
        )


def check_levels(rows: int, cols: int, wavelet: str, levels: int | None) -> int:
    """The number of levels for an image of ``rows`` x ``cols``: ``levels``, or the default where it is None."""
    deepest = max_levels(rows, cols, wavelet)
    if deepest == 0:
        raise ValueError(
            f"an image of {rows}x{cols} pixels is too small for {wavelet}: expected at least "
            f"{smallest_side(wavelet)} pixels on each side; use a shorter wavelet (haar) or {INTEGER_WAVELET}"
        )
    if levels is None:
        return default_levels(rows, cols, wavelet)
    if isinstance(levels, bool) or not isinstance(levels, int | np.integer):
        raise TypeError(f"levels: expected an integer or None, got {levels!r}")
    if not 1 <= levels <= deepest:
        raise ValueError(
            f"levels: expected 1 to {deepest} for an image of {rows}x{cols} pixels with {wavelet}, got {levels}"
        )
    return int(levels)


def smallest_side(wavelet: str) -> int:
    """The smallest side, in pixels, that ``wavelet`` can transform."""
    side = 1
    while max_levels(side, side, wavelet) == 0:
        side += 1
    return side


def distinct_rows(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The distinct rows of a 2-D array, sorted, and which of them each row is; at once where all are the same."""
    if (values == values[0]).all():
        return values[:1], np.zeros(len(values), dtype=np.intp)
    distinct, which = np.unique(values, axis=0, return_inverse=True)
    return distinct, which.reshape(-1)


def check_levels_per_image(
    sizes: NDArray[np.int32], wavelet: str, levels: int | None, by_sample: bool
) -> NDArray[np.int32]:
    """:func:`check_levels` of every image: ``sizes`` (batch, 2) in, (batch,) int32 out."""
    distinct, which = distinct_rows(sizes)
    depth = np.empty(len(distinct), dtype=np.int32)
    for index, (rows, cols) in enumerate(distinct):
        try:
            depth[index] = check_levels(int(rows), int(cols), wavelet, levels)
        except ValueError as error:
            if not by_sample:
                raise
            raise ValueError(f"{name_samples(np.flatnonzero(which == index))}: {error}") from None
    return depth[which]


def check_keep(keep: ArrayLike, batch: int) -> NDArray[np.float64]:
    """``keep`` as (batch,) float64, each in (0, 1]."""
    if is_cuda(keep):
        raise TypeError("keep: expected a number or an array on the host, got a CUDA array; copy it to the host")
    try:
        values = np.asarray(keep, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"keep: expected a number or {batch} numbers in (0, 1], got {keep!r}") from None
    if values.ndim > 1 or (values.ndim == 1 and values.size != batch):
        raise ValueError(f"keep: expected one number or shape ({batch},), got shape {values.shape}")
    values = np.ascontiguousarray(np.broadcast_to(values, (batch,)))
    wrong = np.flatnonzero(~((values > 0) & (values <= 1)))
    if wrong.size:
        raise ValueError(
            f"keep: expected a fraction in (0, 1], got {values[wrong[0]]} at {name_samples(wrong)}; 1 keeps everything"
        )
    return values


def check_sizes(sizes: ArrayLike | None, batch: int, rows: int, cols: int) -> NDArray[np.int32]:
    """``sizes`` as (batch, 2) int32 rows and columns within the canvas; None means the whole canvas."""
    if sizes is None:
        return np.full((batch, 2), (rows, cols), dtype=np.int32)
    if is_cuda(sizes):
        raise TypeError("sizes: expected an array on the host, got a CUDA array; copy it to the host")
    values = np.asarray(sizes)
    if values.dtype.kind not in "iu":
        raise TypeError(f"sizes: expected integers, got dtype {values.dtype}")
    if values.shape == (2,) and batch == 1:
        values = values.reshape(1, 2)
    if values.shape != (batch, 2):
        raise ValueError(f"sizes: expected shape ({batch}, 2), rows and columns of each image, got {values.shape}")
    wrong = np.flatnonzero((values < 1).any(axis=1) | (values > (rows, cols)).any(axis=1))
    if wrong.size:
        height, width = values[wrong[0]]
        raise ValueError(
            f"sizes: expected 1x1 to {rows}x{cols} (the canvas), got {height}x{width} at {name_samples(wrong)}"
        )
    return np.ascontiguousarray(values, dtype=np.int32)


def check_value_range(value_range: ArrayLike | None, batch: int, dtype: np.dtype[Any]) -> NDArray[np.int32] | None:
    """``value_range`` as (batch, 2) int32, lowest and highest pixel value; None for float images."""
    if dtype.kind == "f":
        if value_range is not None:
            raise ValueError(f"value_range: only integer images are clipped, got images of {dtype}; leave it out")
        return None
    limits = np.iinfo(dtype)
    if value_range is None:
        return np.full((batch, 2), (limits.min, limits.max), dtype=np.int32)
    if is_cuda(value_range):
        raise TypeError("value_range: expected an array on the host, got a CUDA array; copy it to the host")
    values = np.asarray(value_range)
    if values.dtype.kind not in "iu":
        raise TypeError(f"value_range: expected integers, got dtype {values.dtype}")
    if values.shape not in ((2,), (batch, 2)):
        raise ValueError(f"value_range: expected (lowest, highest) or shape ({batch}, 2), got shape {values.shape}")
    values = np.broadcast_to(values, (batch, 2))
    wrong = np.flatnonzero((values[:, 0] > values[:, 1]) | (values < limits.min).any(1) | (values > limits.max).any(1))
    if wrong.size:
        low, high = values[wrong[0]]
        raise ValueError(
            f"value_range: expected {limits.min} <= lowest <= highest <= {limits.max} for {dtype}, got ({low}, {high}) "
            f"at {name_samples(wrong)}"
        )
    return np.ascontiguousarray(values, dtype=np.int32)


def check_threads(threads: int | None) -> int | None:
    """``threads`` if it is None or at least 1."""
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int | np.integer)):
        raise TypeError(f"threads: expected an integer or None, got {threads!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads: expected at least 1, or None for all of this process, got {threads}")
    return threads


def host_contiguous(name: str, array: Any) -> Any:
    """``array`` in C order, aligned: a NumPy array is copied if it has to be, a CUDA array must be so (ValueError)."""
    if is_cuda(array):
        require_contiguous(name, array)
        return array
    return plain(np.require(array, requirements=["C", "A"]))
