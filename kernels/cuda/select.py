"""The K-th largest weighted magnitude of each image on the device: three digits, a histogram and a scan each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.kernels.cuda.device import Queue, queue_of, view_of
from wavestream.kernels.cuda.geometry import Planned, capacity_of, uniform_geometry
from wavestream.kernels.cuda.launch import linear_launch, scan_launch, shapes
from wavestream.kernels.cuda.selection import DIGITS, begin_kernel, histogram_kernel, scan_kernel
from wavestream.kernels.cuda.workspace import Workspace, workspace_of
from wavestream.kernels.layout import Layout
from wavestream.kernels.wavelets import INTEGER_WAVELET


def kth_magnitude_cuda(coefficients: Any, counts: NDArray[np.int64], thresholds: Any, layout: Layout) -> None:
    """Find the threshold of each image, in the stream of ``coefficients``.

    Args:
        coefficients: (batch, layout.size), C-contiguous float32, int32 for ``cdf53``.
        counts: (batch,) K of each image on the host, 1 to ``layout.size``.
        thresholds: (batch,) float32 for the result, in weighted coefficient units; NaN counts as larger than infinity.
        layout: of the coefficients.

    Raises:
        RuntimeError: no CUDA device.
    """
    batch = int(coefficients.shape[0])
    with queue_of(coefficients, out=thresholds) as queue:
        if batch == 0:
            return
        capacity = capacity_of(batch, layout.rows, layout.cols, layout.wavelet, layout.levels)
        geometry = uniform_geometry(capacity, layout, counts)
        with workspace_of(capacity, queue) as workspace:
            workspace.upload(geometry, queue)
            packed = view_of(coefficients).reshape(batch * layout.size)
            launch_selection(packed, view_of(thresholds), layout.wavelet, geometry, workspace, queue)


def launch_selection(
    coefficients: Any,
    thresholds: Any,
    wavelet: str,
    geometry: Planned,
    workspace: Workspace,
    queue: Queue,
    axes: int = 2,
) -> None:
    """Queue the selection: ``coefficients`` flat, ``thresholds`` (batch,) float32; the tables are uploaded already.

    ``axes``: 2 for images, 3 for volumes.
    """
    capacity = geometry.capacity
    state, histograms = workspace.state, workspace.histograms
    bits = thresholds.view(np.int32)
    grid, block = linear_launch(histograms.size, 1)
    begin_kernel[grid, block, queue.stream](workspace.images, state, histograms)
    count, scan = histogram_kernel(wavelet == INTEGER_WAVELET, axes), scan_kernel(shapes().scan_threads)
    for digit, (shift, width) in enumerate(DIGITS):
        grid, block = linear_launch(capacity.packed, capacity.batch)
        count[grid, block, queue.stream](coefficients, workspace.levels, state, histograms, digit, shift, width)
        blocks, threads = scan_launch(capacity.batch)
        scan[blocks, threads, queue.stream](state, histograms, bits, digit, width)
