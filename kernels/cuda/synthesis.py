"""The kernel of one level of the inverse transform: a block turns a tile of four subbands into a tile of pixels."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cuda, float32, uint32, uint64

from wavestream.kernels.cuda.geometry import COLS, HH, HL, LAST, LH, LOW, PITCH, ROWS, TARGET
from wavestream.kernels.cuda.lines import synthesis_line
from wavestream.kernels.cuda.magnitude import magnitude_of, weights_of
from wavestream.kernels.wavelets import INTEGER_WAVELET


@cache
def synthesis_kernel(wavelet: str, tile: tuple[int, int]) -> Any:
    """The kernel (target, lows, coefficients, thresholds, levels, level, selective) of a wavelet.

    Rows are transformed first, then columns: the inverse order of the forward transform. Coefficients are thresholded
    as they are read, which spares a pass over them.

    Args:
        wavelet: its name.
        tile: (rows, cols) of coefficients of each subband per block.

    The kernel's arguments: ``target`` flat pixels (finest level) or ``lows``; ``thresholds`` (batch,) float32,
    and whether they are applied at all (``selective``); the others as for the analysis kernel.
    """
    line = synthesis_line(wavelet)
    lead, dtype, synthesise = line.lead, line.dtype, line.synthesise
    extend_low, extend_high = line.extend_low, line.extend_high
    tile_rows, tile_cols = tile
    in_rows, in_cols = tile_rows + line.span - 1, tile_cols + line.span - 1
    mid_cols = 2 * tile_cols
    # Numba takes the size of shared memory only as a bare constant.
    band_size, mid_size = in_rows * in_cols, in_rows * mid_cols
    bands_size, halfway_size = 4 * band_size, 2 * mid_size
    lifted = wavelet == INTEGER_WAVELET
    rounding = 0 if lifted else 1
    weight_table = weights_of(lifted)
    magnitude = magnitude_of(lifted)

    @cuda.jit(device=True)
    def surviving(coefficient, weight, lowest):
        # Written so that NaN stays: it then shows in the image.
        return dtype(0) if magnitude(coefficient, weight) < lowest else coefficient

    @cuda.jit
    def synthesis(target, lows, coefficients, thresholds, levels, level, selective):
        weights = cuda.const.array_like(weight_table)
        bands = cuda.shared.array(bands_size, dtype)
        halfway = cuda.shared.array(halfway_size, dtype)
        first_row = cuda.blockIdx.y * tile_rows
        first_col = cuda.blockIdx.x * tile_cols
        image = cuda.blockIdx.z
        while image < levels.shape[1]:
            rows = levels[level, image, ROWS]
            cols = levels[level, image, COLS]
            low_cols, high_cols = (cols + 1) >> 1, (cols + rounding) >> 1
            if first_row < (rows + 1) >> 1 and first_col < low_cols:
                last = levels[level, image, LAST] == 1
                lowest = thresholds[image] if selective else float32(-1.0)
                ll_start = levels[level, image, LOW]
                hl_start = levels[level, image, HL]
                lh_start = levels[level, image, LH]
                hh_start = levels[level, image, HH]
                r = cuda.threadIdx.y
                while r < in_rows:
                    low_row = extend_low(first_row - lead + r, rows)
                    high_row = extend_high(first_row - lead + r, rows)
                    c = cuda.threadIdx.x
                    while c < in_cols:
                        low_col = extend_low(first_col - lead + c, cols)
                        high_col = extend_high(first_col - lead + c, cols)
                        ll, hl, lh, hh = dtype(0), dtype(0), dtype(0), dtype(0)
                        if last:
                            ll = coefficients[uint64(ll_start + low_row * low_cols + low_col)]
                            ll = surviving(ll, weights[level, 0], lowest)
                        else:
                            ll = lows[uint64(ll_start + low_row * low_cols + low_col)]
                        if high_col >= 0:
                            hl = coefficients[uint64(hl_start + low_row * high_cols + high_col)]
                            hl = surviving(hl, weights[level, 1], lowest)
                        if high_row >= 0:
                            lh = coefficients[uint64(lh_start + high_row * low_cols + low_col)]
                            lh = surviving(lh, weights[level, 2], lowest)
                        if high_row >= 0 and high_col >= 0:
                            hh = coefficients[uint64(hh_start + high_row * high_cols + high_col)]
                            hh = surviving(hh, weights[level, 3], lowest)
                        place = r * in_cols + c
                        bands[uint32(place)] = ll
                        bands[uint32(band_size + place)] = hl
                        bands[uint32(2 * band_size + place)] = lh
                        bands[uint32(3 * band_size + place)] = hh
                        c += cuda.blockDim.x
                    r += cuda.blockDim.y
                cuda.syncthreads()
                r = cuda.threadIdx.y
                while r < in_rows:
                    c = cuda.threadIdx.x
                    while c < tile_cols:
                        place = r * in_cols + c
                        even, odd = synthesise(bands, place, band_size + place, 1)
                        halfway[uint32(r * mid_cols + 2 * c)] = even
                        halfway[uint32(r * mid_cols + 2 * c + 1)] = odd
                        even, odd = synthesise(bands, 2 * band_size + place, 3 * band_size + place, 1)
                        halfway[uint32(mid_size + r * mid_cols + 2 * c)] = even
                        halfway[uint32(mid_size + r * mid_cols + 2 * c + 1)] = odd
                        c += cuda.blockDim.x
                    r += cuda.blockDim.y
                cuda.syncthreads()
                start = levels[level, image, TARGET]
                pitch = levels[level, image, PITCH]
                k = cuda.threadIdx.y
                while k < tile_rows and 2 * (first_row + k) < rows:
                    row = 2 * (first_row + k)
                    c = cuda.threadIdx.x
                    while c < mid_cols and 2 * first_col + c < cols:
                        place = k * mid_cols + c
                        even, odd = synthesise(halfway, place, mid_size + place, mid_cols)
                        pixel = start + row * pitch + 2 * first_col + c
                        target[uint64(pixel)] = even
                        if row + 1 < rows:
                            target[uint64(pixel + pitch)] = odd
                        c += cuda.blockDim.x
                    k += cuda.blockDim.y
            # No barrier before the next image: what it overwrites first was read before the last barrier.
            image += cuda.gridDim.z

    return synthesis
