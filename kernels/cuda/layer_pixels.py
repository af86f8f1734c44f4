"""The kernels before and after a decoder of layers: one clears its buffers, one makes pixels of what it decoded."""

from __future__ import annotations

from numba import cuda, int32, int64, uint64

from wavestream.kernels.cuda.geometry import COLS, HIGHEST, LOW, LOWEST, PITCH, ROWS, TARGET
from wavestream.kernels.cuda.layer_tables import WHOLE


@cuda.jit
def clear_kernel(planes, active, packed, status):
    """Zeros into the flat ``planes``, ``active`` and ``packed``; :data:`WHOLE` into ``status`` (batch,) int32."""
    stride = cuda.gridDim.x * cuda.blockDim.x
    first = int64(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    place = first
    while place < planes.shape[0]:
        planes[uint64(place)] = 0
        place += stride
    place = first
    while place < packed.shape[0]:
        packed[uint64(place)] = 0
        place += stride
    place = first
    while place < active.shape[0]:
        active[uint64(place)] = 0
        place += stride
    place = first
    while place < status.shape[0]:
        status[uint64(place)] = int32(WHOLE)
        place += stride


@cuda.jit
def clipped_kernel(packed, lows, values, result, images, levels, reduction):
    """Clip the images at ``2**-reduction`` of their size into the top-left corners of their canvases; 0 elsewhere.

    ``packed`` coefficients, ``lows`` intermediate low-passes, and ``values``, what the inverse makes of the finest
    level, all flat int32; ``result`` (batch, rows, cols) of any integer dtype; ``images`` and ``levels`` as in
    ``geometry``. An image without any level above the reduction is its coarsest low-pass, among the coefficients.
    """
    first_row = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    col = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    image = cuda.blockIdx.z
    while image < images.shape[0]:
        transformed = reduction < levels.shape[0] and levels[reduction, image, ROWS] > 0
        if transformed:
            rows, cols = levels[reduction, image, ROWS], levels[reduction, image, COLS]
            start, pitch = levels[reduction, image, TARGET], levels[reduction, image, PITCH]
        else:
            rows, cols = (levels[reduction - 1, image, ROWS] + 1) >> 1, (levels[reduction - 1, image, COLS] + 1) >> 1
            start, pitch = levels[reduction - 1, image, LOW], cols
        lowest, highest = images[image, LOWEST], images[image, HIGHEST]
        row = first_row
        while row < result.shape[1]:
            if col < result.shape[2]:
                value = int64(0)
                if row < rows and col < cols:
                    place = uint64(start + row * pitch + col)
                    if not transformed:
                        value = int64(packed[place])
                    elif reduction == 0:
                        value = int64(values[place])
                    else:
                        value = int64(lows[place])
                    value = min(max(value, lowest), highest)
                result[image, row, col] = value
            row += cuda.gridDim.y * cuda.blockDim.y
        image += cuda.gridDim.z
