"""The kernels of the step through the slices: a block transforms the same voxels of a run of slices, in shared memory.

Voxels of a slice lie one after the other, so a slice is one long row here, and neighbouring threads read neighbouring
voxels.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cuda, uint32, uint64

from wavestream.kernels.cuda.lines import analysis_line, synthesis_line
from wavestream.kernels.cuda.volume_geometry import DEPTH_HALFWAY, DEPTH_PLANE, DEPTH_SLICES, DEPTH_VOLUME
from wavestream.kernels.wavelets import INTEGER_WAVELET


@cache
def depth_analysis_kernel(wavelet: str, tile: tuple[int, int]) -> Any:
    """The kernel (source, halfway, depths, level) of a wavelet.

    Args:
        wavelet: its name.
        tile: (slices, voxels) of low-pass coefficients per block.

    The kernel's arguments: ``source`` flat voxels of any dtype (finest level) or intermediate low-passes; ``halfway``
    receives, per volume, the low-pass slices and then the high-pass ones; ``depths`` as in ``volume_geometry``.
    """
    line = analysis_line(wavelet)
    lead, dtype, extend, analyse = line.lead, line.dtype, line.extend, line.analyse
    tile_slices, tile_cols = tile
    in_slices = 2 * (tile_slices - 1) + line.span
    # Numba takes the size of shared memory only as a bare constant.
    samples_size = in_slices * tile_cols
    rounding = 0 if wavelet == INTEGER_WAVELET else 1

    @cuda.jit
    def depth_analysis(source, halfway, depths, level):
        samples = cuda.shared.array(samples_size, dtype)
        first = cuda.blockIdx.y * tile_slices
        first_col = cuda.blockIdx.x * tile_cols
        volume = cuda.blockIdx.z
        while volume < depths.shape[1]:
            slices = depths[level, volume, DEPTH_SLICES]
            plane = depths[level, volume, DEPTH_PLANE]
            low_slices, high_slices = (slices + 1) >> 1, (slices + rounding) >> 1
            if first < low_slices and first_col < plane:
                start = depths[level, volume, DEPTH_VOLUME] + first_col
                s = cuda.threadIdx.y
                while s < in_slices:
                    slice_start = start + extend(2 * first - lead + s, slices) * plane
                    c = cuda.threadIdx.x
                    while c < tile_cols and first_col + c < plane:
                        samples[uint32(s * tile_cols + c)] = dtype(source[uint64(slice_start + c)])
                        c += cuda.blockDim.x
                    s += cuda.blockDim.y
                cuda.syncthreads()
                start = depths[level, volume, DEPTH_HALFWAY] + first_col
                k = cuda.threadIdx.y
                while k < tile_slices and first + k < low_slices:
                    c = cuda.threadIdx.x
                    while c < tile_cols and first_col + c < plane:
                        low, high = analyse(samples, 2 * k * tile_cols + c, tile_cols, 2 * tile_cols)
                        halfway[uint64(start + (first + k) * plane + c)] = low
                        if first + k < high_slices:
                            halfway[uint64(start + (low_slices + first + k) * plane + c)] = high
                        c += cuda.blockDim.x
                    k += cuda.blockDim.y
                # The next volume overwrites what others may still read.
                cuda.syncthreads()
            volume += cuda.gridDim.z

    return depth_analysis


@cache
def depth_synthesis_kernel(wavelet: str, tile: tuple[int, int]) -> Any:
    """The kernel (target, halfway, depths, level) of a wavelet; ``depth_analysis_kernel`` undone.

    Args:
        wavelet: its name.
        tile: (slices, voxels) of low-pass coefficients per block.
    """
    line = synthesis_line(wavelet)
    lead, dtype, synthesise = line.lead, line.dtype, line.synthesise
    extend_low, extend_high = line.extend_low, line.extend_high
    tile_slices, tile_cols = tile
    in_slices = tile_slices + line.span - 1
    band_size = in_slices * tile_cols
    bands_size = 2 * band_size

    @cuda.jit
    def depth_synthesis(target, halfway, depths, level):
        bands = cuda.shared.array(bands_size, dtype)
        first = cuda.blockIdx.y * tile_slices
        first_col = cuda.blockIdx.x * tile_cols
        volume = cuda.blockIdx.z
        while volume < depths.shape[1]:
            slices = depths[level, volume, DEPTH_SLICES]
            plane = depths[level, volume, DEPTH_PLANE]
            low_slices = (slices + 1) >> 1
            if first < low_slices and first_col < plane:
                start = depths[level, volume, DEPTH_HALFWAY] + first_col
                s = cuda.threadIdx.y
                while s < in_slices:
                    low_start = start + extend_low(first - lead + s, slices) * plane
                    high_slice = extend_high(first - lead + s, slices)
                    high_start = start + (low_slices + high_slice) * plane
                    c = cuda.threadIdx.x
                    while c < tile_cols and first_col + c < plane:
                        place = s * tile_cols + c
                        bands[uint32(place)] = halfway[uint64(low_start + c)]
                        high = dtype(0)
                        if high_slice >= 0:
                            high = halfway[uint64(high_start + c)]
                        bands[uint32(band_size + place)] = high
                        c += cuda.blockDim.x
                    s += cuda.blockDim.y
                cuda.syncthreads()
                start = depths[level, volume, DEPTH_VOLUME] + first_col
                k = cuda.threadIdx.y
                while k < tile_slices and first + k < low_slices:
                    c = cuda.threadIdx.x
                    while c < tile_cols and first_col + c < plane:
                        place = k * tile_cols + c
                        even, odd = synthesise(bands, place, band_size + place, tile_cols)
                        voxel = start + 2 * (first + k) * plane + c
                        target[uint64(voxel)] = even
                        if 2 * (first + k) + 1 < slices:
                            target[uint64(voxel + plane)] = odd
                        c += cuda.blockDim.x
                    k += cuda.blockDim.y
                # The next volume overwrites what others may still read.
                cuda.syncthreads()
            volume += cuda.gridDim.z

    return depth_synthesis
