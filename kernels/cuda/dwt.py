"""Forward and inverse transform of a batch on the device, one launch per level."""

from __future__ import annotations

from typing import Any

import numpy as np

from wavestream.kernels.cuda.analysis import analysis_kernel
from wavestream.kernels.cuda.device import Queue, queue_of, view_of
from wavestream.kernels.cuda.geometry import Geometry, capacity_of, uniform_geometry
from wavestream.kernels.cuda.launch import shapes, tile_launch
from wavestream.kernels.cuda.synthesis import synthesis_kernel
from wavestream.kernels.cuda.workspace import Workspace, workspace_of
from wavestream.kernels.layout import layout_of
from wavestream.kernels.wavelets import INTEGER_WAVELET


def working_dtype(wavelet: str) -> np.dtype[Any]:
    """The dtype of coefficients and reconstructed values: int32 for ``cdf53``, float32 for the others."""
    return np.dtype(np.int32 if wavelet == INTEGER_WAVELET else np.float32)


def forward_cuda(images: Any, coefficients: Any, wavelet: str, levels: int) -> None:
    """Transform images to packed coefficients, in the stream of ``images``.

    Args:
        images: (batch, rows, cols), C-contiguous, any pixel dtype; integers for ``cdf53``.
        coefficients: (batch, layout.size) for the result, C-contiguous float32, int32 for ``cdf53``.
        wavelet, levels: as in :func:`wavestream.kernels.dwt.forward`, checked there.

    Raises:
        RuntimeError: no CUDA device.
    """
    batch, rows, cols = (int(side) for side in images.shape)
    with queue_of(images, out=coefficients) as queue:
        if batch == 0:
            return
        capacity = capacity_of(batch, rows, cols, wavelet, levels)
        geometry = uniform_geometry(capacity, layout_of(rows, cols, wavelet, levels))
        with workspace_of(capacity, queue) as workspace:
            workspace.upload(geometry, queue)
            launch_forward(view_of(images), view_of(coefficients), wavelet, geometry, workspace, queue)


def inverse_cuda(coefficients: Any, images: Any, wavelet: str, levels: int) -> None:
    """Transform packed coefficients back to images, in the stream of ``coefficients``.

    Args:
        coefficients: (batch, layout.size), C-contiguous float32, int32 for ``cdf53``.
        images: (batch, rows, cols) for the result, C-contiguous, of the same dtype; neither rounded nor clipped.
        wavelet, levels: as in :func:`wavestream.kernels.dwt.inverse`, checked there.

    Raises:
        RuntimeError: no CUDA device.
    """
    batch, rows, cols = (int(side) for side in images.shape)
    with queue_of(coefficients, out=images) as queue:
        if batch == 0:
            return
        capacity = capacity_of(batch, rows, cols, wavelet, levels)
        geometry = uniform_geometry(capacity, layout_of(rows, cols, wavelet, levels))
        with workspace_of(capacity, queue) as workspace:
            workspace.upload(geometry, queue)
            launch_inverse(view_of(coefficients), None, view_of(images), wavelet, geometry, workspace, queue)


def launch_forward(
    images: Any, coefficients: Any, wavelet: str, geometry: Geometry, workspace: Workspace, queue: Queue
) -> None:
    """Queue the forward transform, the finest level first; the tables are uploaded already."""
    kernel = analysis_kernel(wavelet, shapes().tile)
    lows = workspace.lows(working_dtype(wavelet))
    coefficients = flat(coefficients)
    source = flat(images)
    for level in range(geometry.depth):
        low_rows, low_cols = geometry.largest_low(level)
        if low_rows == 0:
            return
        grid, block = tile_launch(low_rows, low_cols, geometry.capacity.batch)
        kernel[grid, block, queue.stream](source, lows, coefficients, workspace.levels, level)
        source = lows


def launch_inverse(
    coefficients: Any,
    thresholds: Any,
    images: Any,
    wavelet: str,
    geometry: Geometry,
    workspace: Workspace,
    queue: Queue,
) -> None:
    """Queue the inverse transform of the coefficients that reach their image's threshold; of all where that is None."""
    kernel = synthesis_kernel(wavelet, shapes().tile)
    lows = workspace.lows(working_dtype(wavelet))
    coefficients, images = flat(coefficients), flat(images)
    for level in reversed(range(geometry.depth)):
        low_rows, low_cols = geometry.largest_low(level)
        if low_rows == 0:
            continue
        grid, block = tile_launch(low_rows, low_cols, geometry.capacity.batch)
        target = images if level == 0 else lows
        # Without thresholds some array of their type has to stand in.
        chosen = workspace.thresholds if thresholds is None else thresholds
        kernel[grid, block, queue.stream](
            target, lows, coefficients, chosen, workspace.levels, level, thresholds is not None
        )


def flat(array: Any) -> Any:
    """A contiguous device array as one axis."""
    return array.reshape(int(np.prod(array.shape, dtype=np.int64)))
