"""Artifact injection of a batch on the device: transform, selection, threshold and inverse, queued in one go.

The host only works out where things lie; it neither waits for the device nor reads anything back. Where
:mod:`wavestream.kernels.cuda.fused.choice` says so it is one launch (4 to 8 for large images); else, with L levels,
2 L + 8 of the multi-pass kernels, whatever the batch holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cuda.device import Queue, queue_of, view_of
from wavestream.kernels.cuda.dwt import flat, launch_forward, launch_inverse, working_dtype
from wavestream.kernels.cuda.fused.inject import inject_fused
from wavestream.kernels.cuda.geometry import Geometry, Planned, capacity_of, mixed_geometry
from wavestream.kernels.cuda.launch import pixel_launch
from wavestream.kernels.cuda.pixels import pixel_kernel_of
from wavestream.kernels.cuda.select import launch_selection
from wavestream.kernels.cuda.workspace import Workspace, workspace_of
from wavestream.kernels.select import kept_counts


def inject_cuda(
    images: Any,
    keep: NDArray[np.float64],
    wavelet: str,
    levels: NDArray[np.int32],
    sizes: NDArray[np.int32],
    value_range: NDArray[np.int32] | None,
    out: Any,
    path: str = "auto",
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
        value_range: (batch, 2) lowest and highest value of integer images; None for floating-point images.
        out: array like ``images`` for the result; may be ``images`` itself. For integer images it may be float32 or
            float16, and receives the values of the integer result.
        path: ``"auto"``; ``"fused"`` or ``"multipass"`` to have one or the other, for tests and benchmarks.

    Raises:
        RuntimeError: no CUDA device.
        ValueError: ``path`` is unknown, or the fused kernel cannot do what was asked of it.
    """
    batch, rows, cols = (int(side) for side in images.shape)
    with queue_of(images, out=out) as queue:
        if batch == 0:
            return
        counts = np.where(keep == 1, 0, kept_counts(keep, sizes))
        limits = limits_of(value_range, batch)
        source, result = view_of(images), view_of(out)
        if inject_fused(path, source, result, wavelet, counts, sizes, levels, limits, queue):
            return
        # Also where the deepest images are only copied: which they are may change from call to call.
        capacity = capacity_of(batch, rows, cols, wavelet, int(levels.max()))
        geometry = mixed_geometry(capacity, wavelet, sizes, levels, counts, limits)
        with workspace_of(capacity, queue) as workspace:
            launch_injection(flat(source), flat(result), wavelet, geometry, (rows, cols), workspace, queue)


def launch_injection(
    source: Any,
    result: Any,
    wavelet: str,
    geometry: Geometry,
    largest: tuple[int, int],
    workspace: Workspace,
    queue: Queue,
) -> None:
    """Queue the upload of the tables and all kernels of an injection.

    Args:
        source, result: flat pixels, which the tables' offsets point into; may be the same memory.
        wavelet: its name.
        geometry: the tables.
        largest: rows and columns that hold every canvas.
        workspace, queue: where to work.
    """
    dtype = working_dtype(wavelet)
    workspace.upload(geometry, queue)
    coefficients = workspace.coefficients(dtype)
    values = result if values_are_result(result.dtype, wavelet) else workspace.values(dtype)
    launch_forward(source, coefficients, wavelet, geometry, workspace, queue)
    launch_selection(coefficients, workspace.thresholds, wavelet, geometry, workspace, queue)
    launch_inverse(coefficients, workspace.thresholds, values, wavelet, geometry, workspace, queue)
    launch_pixels(source, values, result, wavelet, largest, geometry, workspace, queue)


def launch_pixels(
    source: Any,
    values: Any,
    result: Any,
    wavelet: str,
    largest: tuple[int, int],
    geometry: Planned,
    workspace: Workspace,
    queue: Queue,
) -> None:
    """Queue the kernel that makes pixels of the reconstructed ``values``; arguments as above."""
    grid, block = pixel_launch(*largest, geometry.capacity.batch)
    kernel = pixel_kernel_of(np.dtype(source.dtype), np.dtype(result.dtype), wavelet)
    kernel[grid, block, queue.stream](source, values, result, workspace.images, workspace.state)


def values_are_result(result: Any, wavelet: str) -> bool:
    """Whether the inverse can write its values to a result of this dtype, to be made pixels in place."""
    return bool(np.dtype(result) == working_dtype(wavelet))


def limits_of(value_range: NDArray[np.int32] | None, batch: int) -> NDArray[np.int64]:
    """(batch, 2) lowest and highest value; 0 and 0, which nothing reads, for floating-point pixels."""
    return np.zeros((batch, 2), dtype=np.int64) if value_range is None else value_range.astype(np.int64)
