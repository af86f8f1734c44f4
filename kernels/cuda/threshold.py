"""Hard thresholding of packed coefficients on the device."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cuda, uint64

from wavestream.kernels.cuda.device import queue_of, view_of
from wavestream.kernels.cuda.geometry import capacity_of, uniform_geometry
from wavestream.kernels.cuda.launch import linear_launch
from wavestream.kernels.cuda.magnitude import extent_of, magnitude_of, weights_of
from wavestream.kernels.cuda.workspace import workspace_of
from wavestream.kernels.layout import Layout
from wavestream.kernels.wavelets import INTEGER_WAVELET


@cache
def threshold_kernel(lifted: bool, axes: int = 2) -> Any:
    """The kernel (coefficients, thresholds, result, levels): flat coefficients, ``levels`` as in ``geometry``."""
    weight_table = weights_of(lifted, axes)
    magnitude = magnitude_of(lifted)
    extent = extent_of(lifted, axes)
    orientations = 1 << axes

    @cuda.jit
    def threshold(coefficients, thresholds, result, levels):
        weights = cuda.const.array_like(weight_table)
        stride = cuda.gridDim.x * cuda.blockDim.x
        thread = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        image = cuda.blockIdx.y
        while image < levels.shape[1]:
            lowest = thresholds[image]
            for level in range(levels.shape[0]):
                for orientation in range(orientations):
                    start, size = extent(levels, level, image, orientation)
                    weight = weights[level, orientation]
                    place = thread
                    while place < size:
                        coefficient = coefficients[uint64(start + place)]
                        # Written so that NaN fails: it becomes 0, as in the CPU kernel.
                        stays = magnitude(coefficient, weight) >= lowest
                        result[uint64(start + place)] = coefficient if stays else 0
                        place += stride
            image += cuda.gridDim.y

    return threshold


def hard_threshold_cuda(coefficients: Any, thresholds: Any, out: Any, layout: Layout) -> None:
    """Set every coefficient below its image's threshold to 0, in the stream of ``coefficients``.

    Args:
        coefficients: (batch, layout.size), C-contiguous float32, int32 for ``cdf53``.
        thresholds: (batch,) float32, in weighted coefficient units.
        out: like ``coefficients``, for the result; may be ``coefficients`` itself.
        layout: of the coefficients.

    Raises:
        RuntimeError: no CUDA device.
    """
    batch = int(coefficients.shape[0])
    with queue_of(coefficients, thresholds=thresholds, out=out) as queue:
        if batch == 0:
            return
        capacity = capacity_of(batch, layout.rows, layout.cols, layout.wavelet, layout.levels)
        geometry = uniform_geometry(capacity, layout)
        with workspace_of(capacity, queue) as workspace:
            workspace.upload(geometry, queue)
            packed, result = (view_of(array).reshape(batch * layout.size) for array in (coefficients, out))
            grid, block = linear_launch(capacity.packed, batch)
            threshold_kernel(layout.wavelet == INTEGER_WAVELET)[grid, block, queue.stream](
                packed, view_of(thresholds), result, workspace.levels
            )
