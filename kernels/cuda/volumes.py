"""Artifact injection of volumes on the device: the 2-D kernels on every slice, and a step through the slices.

Everything is queued in the caller's stream; with L levels there are 4 L + 9 launches, whatever the batch holds. For
volumes of n voxels it holds about 8n bytes of coefficients and of what lies between the two steps, 0.6n of low-passes
and, unless the voxels are float32 (int32 for ``cdf53``), 4n of values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cuda.analysis import analysis_kernel
from wavestream.kernels.cuda.device import Queue, queue_of, view_of
from wavestream.kernels.cuda.dwt import flat, working_dtype
from wavestream.kernels.cuda.inject import launch_pixels, limits_of, values_are_result
from wavestream.kernels.cuda.launch import linear_launch, shapes, tile_launch
from wavestream.kernels.cuda.select import launch_selection
from wavestream.kernels.cuda.synthesis import synthesis_kernel
from wavestream.kernels.cuda.threshold import threshold_kernel
from wavestream.kernels.cuda.volume_depth import depth_analysis_kernel, depth_synthesis_kernel
from wavestream.kernels.cuda.volume_geometry import VolumeCapacity, volume_geometry
from wavestream.kernels.cuda.workspace import Workspace, workspace_of
from wavestream.kernels.volume_layout import kept_count_of_volume, volume_layout_of
from wavestream.kernels.wavelets import INTEGER_WAVELET


def inject_volumes_cuda(
    volumes: Any,
    keep: NDArray[np.float64],
    wavelet: str,
    levels: int,
    value_range: NDArray[np.int32] | None,
    out: Any,
) -> None:
    """Give each volume the artifact of its keep, in the stream of ``volumes``.

    A volume with a coefficient that is not finite comes out NaN in every voxel: the host cannot be told without waiting
    for the device. Integer volumes cannot have one.

    Args:
        volumes: (batch, slices, rows, cols), C-contiguous, any pixel dtype; integers for ``cdf53``.
        keep: (batch,) in (0, 1], on the host; volumes with keep 1 are copied.
        wavelet, levels: allowed for the size.
        value_range: (batch, 2) lowest and highest value of integer volumes; None for floating-point ones.
        out: array like ``volumes`` for the result; may be ``volumes`` itself; for integer volumes also float32 or
            float16.

    Raises:
        RuntimeError: no CUDA device.
        ValueError: a volume of 2**31 coefficients or more; arrays of several devices or streams.
    """
    batch, slices, rows, cols = (int(side) for side in volumes.shape)
    counts = [0 if fraction == 1 else kept_count_of_volume(fraction, slices, rows, cols) for fraction in keep]
    capacity = VolumeCapacity(batch, volume_layout_of(slices, rows, cols, wavelet, levels))
    if capacity.packed >= 2**31:
        raise ValueError(
            f"volumes: expected fewer than 2**31 coefficients per volume, which the device counts in 32 bits, got "
            f"{capacity.packed}; split the volume"
        )
    with queue_of(volumes, out=out) as queue:
        geometry = volume_geometry(capacity, np.array(counts, dtype=np.int64), limits_of(value_range, batch))
        source, result = flat(view_of(volumes)), flat(view_of(out))
        dtype = working_dtype(wavelet)
        with workspace_of(capacity, queue) as workspace:
            workspace.upload(geometry, queue)
            coefficients, thresholds = workspace.coefficients(dtype), workspace.thresholds
            values = result if values_are_result(result.dtype, wavelet) else workspace.values(dtype)
            launch_volume_forward(source, coefficients, capacity, workspace, queue)
            launch_selection(coefficients, thresholds, wavelet, geometry, workspace, queue, axes=3)
            grid, block = linear_launch(capacity.packed, batch)
            threshold_kernel(wavelet == INTEGER_WAVELET, axes=3)[grid, block, queue.stream](
                coefficients, thresholds, coefficients, workspace.levels
            )
            launch_volume_inverse(coefficients, values, capacity, workspace, queue)
            launch_pixels(source, values, result, wavelet, (slices * rows, cols), geometry, workspace, queue)


def launch_volume_forward(
    source: Any, coefficients: Any, capacity: VolumeCapacity, workspace: Workspace, queue: Queue
) -> None:
    """Queue the forward transform of flat voxels, the finest level first; the tables are uploaded already."""
    layout = capacity.layout
    through, within = (kernel(layout.wavelet, shapes().tile) for kernel in (depth_analysis_kernel, analysis_kernel))
    lows, halfway = _lows_and_halfway(capacity, workspace)
    depths = workspace.tables[2]
    for level in range(layout.levels):
        grid, block = _depth_launch(capacity, level)
        through[grid, block, queue.stream](source, halfway, depths, level)
        grid, block = _slice_launch(capacity, level)
        within[grid, block, queue.stream](halfway, lows, coefficients, workspace.tables[3 + level], 0)
        source = lows


def launch_volume_inverse(
    coefficients: Any, values: Any, capacity: VolumeCapacity, workspace: Workspace, queue: Queue
) -> None:
    """Queue the inverse transform of all coefficients to flat voxels."""
    layout = capacity.layout
    through, within = (kernel(layout.wavelet, shapes().tile) for kernel in (depth_synthesis_kernel, synthesis_kernel))
    lows, halfway = _lows_and_halfway(capacity, workspace)
    depths = workspace.tables[2]
    for level in reversed(range(layout.levels)):
        grid, block = _slice_launch(capacity, level)
        # The coefficients are thresholded already; some array of the thresholds' type has to stand in.
        within[grid, block, queue.stream](
            halfway, lows, coefficients, workspace.thresholds, workspace.tables[3 + level], 0, False
        )
        grid, block = _depth_launch(capacity, level)
        through[grid, block, queue.stream](values if level == 0 else lows, halfway, depths, level)


def _lows_and_halfway(capacity: VolumeCapacity, workspace: Workspace) -> tuple[Any, Any]:
    dtype = working_dtype(capacity.layout.wavelet)
    return workspace.lows(dtype), workspace.buffer("halfway", capacity.batch * capacity.halfway, dtype)


def _depth_launch(capacity: VolumeCapacity, level: int) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Grid and block of the step through the slices: a slice is a row there."""
    _, rows, cols = capacity.shapes[level]
    return tile_launch(capacity.shapes[level + 1][0], rows * cols, capacity.batch)


def _slice_launch(capacity: VolumeCapacity, level: int) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Grid and block of the step within the slices, each an image of its own."""
    _, low_rows, low_cols = capacity.shapes[level + 1]
    return tile_launch(low_rows, low_cols, capacity.batch * sum(capacity.halves(level)))
