"""Artifact injection of a batch on the device: transform, selection, threshold and inverse, queued in one go.

The host only works out where things lie; it neither waits for the device nor reads anything back. With L levels there
are 2 L + 8 launches, whatever the batch holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cuda.device import queue_of, view_of
from wavestream.kernels.cuda.dwt import flat, launch_forward, launch_inverse, working_dtype
from wavestream.kernels.cuda.geometry import capacity_of, mixed_geometry
from wavestream.kernels.cuda.launch import pixel_launch
from wavestream.kernels.cuda.pixels import pixel_kernel
from wavestream.kernels.cuda.select import launch_selection
from wavestream.kernels.cuda.workspace import workspace_of
from wavestream.kernels.select import kept_counts
from wavestream.kernels.wavelets import INTEGER_WAVELET


def inject_cuda(
    images: Any,
    keep: NDArray[np.float64],
    wavelet: str,
    levels: NDArray[np.int32],
    sizes: NDArray[np.int32],
    value_range: NDArray[np.int32] | None,
    out: Any,
) -> None:
    """Give each image the artifact of its keep, in the stream of ``images``.

    An image with a coefficient that is not finite (because a pixel is not, or because a sum overflowed) comes out NaN
    in every pixel: the host cannot be told without waiting for the device. Integer images cannot have one.

    Args:
        images: (batch, rows, cols) canvas, C-contiguous, any pixel dtype; integers for ``cdf53``.
        keep: (batch,) in (0, 1], on the host; images with keep 1 are copied bit for bit.
        wavelet: its name.
        levels: (batch,) depth of each image.
        sizes: (batch, 2) rows and columns of each image in the top-left corner of the canvas; the rest is copied.
        value_range: (batch, 2) lowest and highest value of integer images; None for their dtype's range. Floating-point
            images are not clipped.
        out: array like ``images`` for the result; may be ``images`` itself.

    Raises:
        RuntimeError: no CUDA device.
    """
    batch, rows, cols = (int(side) for side in images.shape)
    with queue_of(images) as queue:
        if batch == 0:
            return
        counts = np.where(keep == 1, 0, kept_counts(keep, sizes))
        deepest = int(np.max(levels, where=counts > 0, initial=1))
        capacity = capacity_of(batch, rows, cols, wavelet, deepest)
        source, result = view_of(images), view_of(out)
        limits = _limits(value_range, batch, result.dtype)
        geometry = mixed_geometry(capacity, wavelet, sizes, levels, counts, limits)
        dtype = working_dtype(wavelet)
        with workspace_of(capacity, queue) as workspace:
            workspace.upload(geometry, queue)
            coefficients = workspace.coefficients(dtype)
            values = result if result.dtype == dtype else workspace.values(dtype)
            launch_forward(source, coefficients, wavelet, geometry, workspace, queue)
            launch_selection(coefficients, workspace.thresholds, wavelet, geometry, workspace, queue)
            launch_inverse(coefficients, workspace.thresholds, values, wavelet, geometry, workspace, queue)
            grid, block = pixel_launch(rows, cols, batch)
            kernel = pixel_kernel(_kind(result.dtype, wavelet))
            kernel[grid, block, queue.stream](
                flat(source), flat(values), flat(result), rows, cols, workspace.images, workspace.state
            )


def _limits(value_range: NDArray[np.int32] | None, batch: int, dtype: np.dtype[Any]) -> NDArray[np.int64]:
    """(batch, 2) lowest and highest value; 0 and 0, which nothing reads, for floating-point pixels."""
    if value_range is not None:
        return value_range.astype(np.int64)
    limits = (0, 0) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.tile(np.array(limits, dtype=np.int64), (batch, 1))


def _kind(dtype: np.dtype[Any], wavelet: str) -> str:
    if dtype.kind == "f":
        return dtype.name
    return "lifted" if wavelet == INTEGER_WAVELET else "integer"
